"""Quarantine: the directory with the files of diverged tails on this replica's volume.

Which tails a region has is replicated state (``RegionState.tails``); here are the files. A file grows in steps, each
inside the transaction of one entry of the log, at an offset that the state knows; as ``<name>.part``, and under its own
name when it is whole. A step that is applied again writes the same bytes in the same place. Nothing is synced by a
step: like the data, files are made durable with each checkpoint, before the entries below it may leave the log.

A replica that came to the region by a checkpoint of another lacks what was written before; then nothing is written
here, and the file is fetched from another replica when it is whole there.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from rstore_api.logs import get_logger

from rstore_replica.disk_full import NO_ROOM
from rstore_replica.mvcc.data.checkpoint import sync_path
from rstore_replica.mvcc.data.store import StorageFailed
from rstore_replica.mvcc.tail_facts import Tail
from rstore_replica.mvcc.tails.file import DamagedTail, read_rows, read_summary

_log = get_logger(__name__)

_NAME = re.compile(r"\d+-\d+-\d+\.wal")


class Quarantine:
    """The files below one directory, which need not exist. Written by the state machine, read by anybody."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.RLock()
        self._unsynced: dict[str, int] = {}
        self._writes = 0
        self._whole: dict[str, Tail] = {}
        self._damaged: dict[str, str] = {}
        for path in sorted(directory.glob("*.wal")):
            self._look_at(path)

    def _look_at(self, path: Path) -> None:
        try:
            self._whole[path.name] = read_summary(path)
            self._damaged.pop(path.name, None)
        except DamagedTail as error:
            _log.error("quarantine_file_damaged", file=path.name, error=str(error))
            self._whole.pop(path.name, None)
            self._damaged[path.name] = str(error)

    @property
    def whole(self) -> dict[str, Tail]:
        """The files that are complete here, by name. Rows are checked only when they are read."""
        return dict(self._whole)

    @property
    def damaged(self) -> dict[str, str]:
        """What is wrong with the others, by name."""
        return dict(self._damaged)

    def path(self, name: str) -> Path:
        """Returns where the file of that name is, or would be. Raises ValueError for what is no name of a tail."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a tail, as in 1-1001-1024.wal")
        return self._directory / name

    # ---------------------------------------------------------------------------------- as entries are applied

    def append(self, name: str, offset: int, data: bytes) -> None:
        """Writes ``data`` at ``offset``, where the file ends then. Raises OSError (no room) or StorageFailed."""
        whole = self.path(name)
        part = self._part(name)

        def write() -> None:
            if not offset:
                self._directory.mkdir(parents=True, exist_ok=True)
                with part.open("wb") as file:
                    _write(file, data)
                return
            if not part.exists() and whole.exists():
                self._whole.pop(name, None)
                whole.rename(part)  # the log is replayed
            if not part.exists() or part.stat().st_size < offset:
                return  # this replica lacks the beginning
            with part.open("r+b") as file:
                file.seek(offset)
                _write(file, data)
                file.truncate()

        self._storing(name, write)

    def finish(self, tail: Tail) -> None:
        """The file is whole. Raises StorageFailed."""

        def rename() -> None:
            part, whole = self._part(tail.file), self.path(tail.file)
            if part.exists() and part.stat().st_size == tail.size_bytes:
                part.rename(whole)
            if whole.exists():
                self._look_at(whole)
                if (found := self._whole.get(tail.file)) is not None and found != tail:
                    self.report_damage(tail.file, f"{tail.file} was begun at another time than it was ended")

        self._storing(tail.file, rename)

    def discard(self, name: str) -> None:
        """Removes the file, whole or not; it need not be there. Raises StorageFailed."""

        def remove() -> None:
            for path in (self._part(name), self.path(name)):
                path.unlink(missing_ok=True)
            self._whole.pop(name, None)
            self._damaged.pop(name, None)

        self._storing(name, remove)

    def _storing(self, name: str, work: Callable[[], None]) -> None:
        with self._lock:
            self._writes += 1
            self._unsynced[name] = self._writes
            try:
                work()
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise
                raise StorageFailed(f"a diverged tail cannot be kept as {self._directory / name}: {error}") from error

    def _part(self, name: str) -> Path:
        return self._directory / f"{name}.part"

    # ---------------------------------------------------------------------------------- beside that

    def sync(self) -> None:
        """Makes all that was written before the call durable; in any thread. Raises StorageFailed."""
        with self._lock:
            names = dict(self._unsynced)
        if not names or not self._directory.exists():
            return
        try:
            for name in names:
                for path in (self._part(name), self.path(name), self._part(name)):  # it may be renamed meanwhile
                    if path.exists():
                        _sync_if_there(path)
            for directory in (self._directory, self._directory.parent):
                sync_path(directory)
        except OSError as error:
            raise StorageFailed(f"the files in {self._directory} cannot be synced: {error}") from error
        with self._lock:
            for name, write in names.items():
                if self._unsynced.get(name) == write:
                    del self._unsynced[name]

    def report_damage(self, name: str, damage: str) -> None:
        """A reader found the file damaged; it does not count as whole any more."""
        _log.error("quarantine_file_damaged", file=name, error=damage)
        with self._lock:
            self._whole.pop(name, None)
            self._damaged[name] = damage

    def adopt(self, fetched: Path, name: str) -> None:
        """Puts a synced copy of another replica's file in the place of one that is missing or damaged here.

        Reads all of it first. Raises DamagedTail when it is not sound, or OSError.
        """
        for _ in read_rows(fetched):
            pass
        with self._lock:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._part(name).unlink(missing_ok=True)
            fetched.rename(self.path(name))
            self._look_at(self.path(name))
        sync_path(self._directory)


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _sync_if_there(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
