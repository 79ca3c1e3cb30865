"""Checkpoints: a copy of the data in a directory of its own, and putting one in the place of the live data.

A checkpoint directory holds ``data.mdb`` and ``manifest.json`` (size, CRC32C, position). Where the data lives::

    <path>/live       the environment in use
    <path>/incoming   a checkpoint that is to become it; complete when it has this name
    <path>/outgoing   what it replaced; to be removed

Every step of a restore is a rename, and :func:`settle` completes at start what a crash interrupted.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import google_crc32c
import lmdb
import msgspec

from rstore_replica.mvcc.data.store import DATA_FILE, Position, StorageFailed, Store, Transaction

MANIFEST_FILE = "manifest.json"
_READ_BYTES = 1 << 20


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a checkpoint holds."""

    format: int
    size_bytes: int
    crc32c: int
    position: Position


def write_checkpoint(store: Store, directory: Path) -> Manifest:
    """Copies a consistent state into ``directory`` and syncs it; may run in a thread while writes go on.

    ``directory`` may exist if it is empty. Raises :class:`StorageFailed`; then the directory is to be thrown away.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise StorageFailed(f"{directory} is not empty")
        with store.read() as transaction:
            position = store.load_position(transaction)
            size, checksum = _copy(store, transaction, directory / DATA_FILE)
        manifest = Manifest(1, size, checksum, position)
        _write(directory / MANIFEST_FILE, [msgspec.json.encode(manifest)])
        for path in (directory, directory.parent):
            sync_path(path)
        return manifest
    except (OSError, lmdb.Error) as error:
        raise StorageFailed(f"cannot write a checkpoint to {directory}: {error}") from error


def _copy(store: Store, transaction: Transaction, path: Path) -> tuple[int, int]:
    """Writes what the transaction sees to a new file and syncs it.

    Returns size and CRC32C of what LMDB gave, not of what the file holds when it is read back.
    """
    source, sink = os.pipe()
    errors: list[lmdb.Error] = []

    def copy() -> None:
        try:
            store.environment.copyfd(sink, compact=True, txn=transaction)
        except lmdb.Error as error:
            errors.append(error)
        finally:
            os.close(sink)

    copying = threading.Thread(target=copy, name="checkpoint")
    copying.start()
    try:
        sums = _write(path, iter(partial(os.read, source, _READ_BYTES), b""))
    finally:
        os.close(source)  # ends a copy that is not done
        copying.join()
    if errors:
        raise errors[0]
    return sums


def _write(path: Path, blocks: Iterable[bytes]) -> tuple[int, int]:
    """Writes a new file and syncs it by the descriptor that wrote, which reports every write that has failed since;
    returns size and CRC32C.
    """
    size = checksum = 0
    with path.open("xb") as file:
        for block in blocks:
            size, checksum = size + len(block), google_crc32c.extend(checksum, block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return size, int(checksum)


def check_checkpoint(directory: Path) -> Manifest:
    """Reads all of a checkpoint; raises :class:`StorageFailed` when it is not what was written."""
    try:
        manifest = msgspec.json.decode((directory / MANIFEST_FILE).read_bytes(), type=Manifest)
        size, checksum = (directory / DATA_FILE).stat().st_size, _checksum(directory / DATA_FILE)
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageFailed(f"the checkpoint in {directory} cannot be read: {error}") from error
    if manifest.format != 1:
        raise StorageFailed(f"the checkpoint in {directory} has format {manifest.format}, this version reads 1")
    if (size, checksum) != (manifest.size_bytes, manifest.crc32c):
        raise StorageFailed(f"the checkpoint in {directory} is damaged: {size} bytes, CRC32C {checksum:08x}")
    return manifest


def stage(path: Path, checkpoint: Path) -> None:
    """Checks a checkpoint and copies it to ``incoming``; the live data is not touched. Raises
    :class:`StorageFailed`.
    """
    check_checkpoint(checkpoint)
    temporary = path / "incoming.tmp"
    try:
        if temporary.exists():
            shutil.rmtree(temporary)
        if (path / "incoming").exists():
            (path / "incoming").rename(temporary)  # it must never be incomplete under its own name
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
        shutil.copyfile(checkpoint / DATA_FILE, temporary / DATA_FILE)
        sync_path(temporary / DATA_FILE)
        sync_path(temporary)
        temporary.rename(path / "incoming")
        sync_path(path)
    except OSError as error:
        raise StorageFailed(f"cannot copy the checkpoint in {checkpoint}: {error}") from error


def settle(path: Path) -> Path:
    """Puts ``incoming``, if there is one, in the place of ``live``; returns the live directory, which must not be
    open.
    """
    live, incoming, outgoing = path / "live", path / "incoming", path / "outgoing"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if incoming.exists():
            if live.exists():
                if outgoing.exists():
                    shutil.rmtree(outgoing)
                live.rename(outgoing)
            incoming.rename(live)
            sync_path(path)
        for leftover in (outgoing, path / "incoming.tmp"):
            if leftover.exists():
                shutil.rmtree(leftover)
    except OSError as error:
        raise StorageFailed(f"cannot put the checkpoint in place in {path}: {error}") from error
    return live


def discard(path: Path) -> None:
    """Removes live data that is not to be trusted, durably, with what else is there; the data must not be open."""
    try:
        if path.exists():
            shutil.rmtree(path)
            sync_path(path.parent)
    except OSError as error:
        raise StorageFailed(f"cannot remove the data in {path}: {error}") from error


def sync_path(path: Path) -> None:
    """fsync of a file or a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            checksum = google_crc32c.extend(checksum, chunk)
    return int(checksum)
