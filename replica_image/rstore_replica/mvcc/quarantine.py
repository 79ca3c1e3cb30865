"""Quarantine: the rows of a diverged tail, kept in a file of their own when a region leaves them.

``<epoch>-<first revision>-<last revision>.wal``, all integers big-endian::

    "RSTQ" | version u8 = 1 | header length u32 | CRC32C of the header u32 | header (msgpack)
    part: length u32 | a packed batch of rows, with its own checksum (``rows.py``)
    end:  0 u32 | number of rows u64 | CRC32C of that number u32

Written under a temporary name, synced and then renamed, so that a file is whole or not there; written again, by a log
that is replayed, it becomes the same. Whoever reads it checks every length and checksum.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import msgspec
from rstore_api.errors import Compacted, NoSpace, StoreError
from rstore_api.proto.rstore_pb2 import EpochStart

from rstore_replica.log import get_logger
from rstore_replica.mvcc import layout, rows
from rstore_replica.mvcc.checkpoint import sync_path
from rstore_replica.mvcc.store import FREE_DISK_RESERVE_BYTES, StorageFailed, Store, Transaction
from rstore_replica.mvcc.tails import Tail, TailHeader

_log = get_logger("quarantine")

MAGIC = b"RSTQ"
FORMAT_VERSION = 1
PART_BYTES = 1 << 20
MAX_PART_BYTES = 256 << 20
_START = struct.Struct(">4sBII")
_LENGTH = struct.Struct(">I")
_COUNT = struct.Struct(">Q")
_END = struct.Struct(">IQI")


class DamagedTail(ValueError):  # noqa: N818
    """A quarantine file is not what was written; the text says what is wrong with it."""


def refusal_of_export(store: Store, transaction: Transaction, compacted: int, fork_revision: int) -> StoreError | None:
    """Why what is above ``fork_revision`` cannot be left: Compacted, or NoSpace for the file it has to go to."""
    if fork_revision < compacted:
        return Compacted(f"revision {fork_revision} is compacted, a snapshot is needed")
    with transaction.cursor(store.rows) as cursor:
        size_bytes = sum(len(body) + rows.FRAME_HEADER.size for _, body in _rows_above(cursor, fork_revision))
    if store.free_disk_bytes() < size_bytes + FREE_DISK_RESERVE_BYTES:
        return NoSpace(f"a diverged tail of {size_bytes} bytes has no room in quarantine")
    return None


def export(
    store: Store,
    transaction: Transaction,
    directory: Path,
    *,
    store_id: str,
    region: str,
    history: Sequence[EpochStart],
    fork_revision: int,
    replaced_by_epoch: int,
) -> Tail | None:
    """Writes the rows above ``fork_revision`` to a file, durably; None when there are none.

    Takes memory for one part, time in proportion to the tail. Raises StorageFailed.
    """
    with transaction.cursor(store.rows) as cursor:
        if not cursor.set_range(layout.ROW_KEY.pack(fork_revision + 1, 0)):
            return None
        first_revision = layout.ROW_KEY.unpack(cursor.key())[0]
        cursor.last()
        last_revision = layout.ROW_KEY.unpack(cursor.key())[0]
        header = TailHeader(
            store_id=store_id,
            region=region,
            epoch=history[-1].epoch if history else 0,
            first_revision=first_revision,
            last_revision=last_revision,
            fork_revision=fork_revision,
            replaced_by_epoch=replaced_by_epoch,
            history=tuple(
                (start.epoch, start.first_revision, start.region, start.parent_revision) for start in history
            ),
        )
        path = directory / f"{header.epoch}-{first_revision}-{last_revision}.wal"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".tmp")
            with temporary.open("wb") as file:
                count = _write(file, header, _rows_above(cursor, fork_revision))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_path(directory)
            sync_path(directory.parent)
            return Tail(path.name, header, count, path.stat().st_size)
        except OSError as error:
            raise StorageFailed(f"a diverged tail cannot be written to {path}: {error}") from error


def _rows_above(cursor: Transaction, revision: int) -> Iterator[tuple[bytes, bytes]]:
    found = cursor.set_range(layout.ROW_KEY.pack(revision + 1, 0))
    yield from cursor.iternext(keys=True, values=True) if found else ()


def _write(file: BinaryIO, header: TailHeader, found: Iterator[tuple[bytes, bytes]]) -> int:
    encoded = msgspec.msgpack.encode(header)
    file.write(_START.pack(MAGIC, FORMAT_VERSION, len(encoded), google_crc32c.value(encoded)) + encoded)
    frames: list[bytes] = []
    size = count = 0

    def end_part() -> None:
        if frames:
            packed = rows.join_frames(frames, len(frames) // 2)
            file.write(_LENGTH.pack(len(packed)) + packed)

    for row_key, body in found:
        frames += (row_key + len(body).to_bytes(4, "big"), body)
        size += len(body)
        count += 1
        if size >= PART_BYTES:
            end_part()
            frames, size = [], 0
    end_part()
    file.write(_END.pack(0, count, google_crc32c.value(_COUNT.pack(count))))
    return count


def read_header(path: Path) -> Tail:
    """The header and the end of a file, without the rows between. Raises DamagedTail."""
    try:
        with path.open("rb") as file:
            header = _read_start(file)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _END.size))
            count = _check_end(file.read())
    except OSError as error:
        raise DamagedTail(f"{path.name} cannot be read: {error}") from error
    return Tail(path.name, header, count, size)


def read_rows(path: Path) -> Iterator[rows.Row]:
    """All rows of a file, in order, one part in memory at a time. Raises DamagedTail, at the latest at the end."""
    count = 0
    try:
        with path.open("rb") as file:
            _read_start(file)
            while length := _LENGTH.unpack(_exactly(file, _LENGTH.size))[0]:
                if length > MAX_PART_BYTES:
                    raise DamagedTail(f"a part of {length} bytes")
                for row, _ in rows.unpack_batch(_exactly(file, length)):
                    count += 1
                    yield row
            end = _LENGTH.pack(0) + file.read()
    except OSError as error:
        raise DamagedTail(f"{path.name} cannot be read: {error}") from error
    except rows.DamagedRows as error:
        raise DamagedTail(f"{path.name}: {error}") from error
    if _check_end(end) != count:
        raise DamagedTail(f"{path.name} holds {count} rows, its end says something else")


def list_tails(directory: Path) -> tuple[Tail, ...]:
    """The files in ``directory``, by name; one that is damaged is left out and logged."""
    found: list[Tail] = []
    for path in sorted(directory.glob("*.wal")):
        try:
            found.append(read_header(path))
        except DamagedTail as error:
            _log.error("quarantine_file_damaged", file=path.name, error=str(error))
    return tuple(found)


def _read_start(file: BinaryIO) -> TailHeader:
    magic, version, length, checksum = _START.unpack(_exactly(file, _START.size))
    if magic != MAGIC or version != FORMAT_VERSION:
        raise DamagedTail(f"it begins with {magic!r}, version {version}")
    if length > MAX_PART_BYTES:
        raise DamagedTail(f"a header of {length} bytes")
    encoded = _exactly(file, length)
    if google_crc32c.value(encoded) != checksum:
        raise DamagedTail("the checksum of the header does not match")
    try:
        return msgspec.msgpack.decode(encoded, type=TailHeader)
    except msgspec.MsgspecError as error:
        raise DamagedTail(f"the header cannot be decoded: {error}") from error


def _check_end(end: bytes) -> int:
    if len(end) != _END.size:
        raise DamagedTail("it ends too early or too late")
    zero, count, checksum = _END.unpack(end)
    if zero or google_crc32c.value(_COUNT.pack(count)) != checksum:
        raise DamagedTail("its end is not what was written")
    return int(count)


def _exactly(file: BinaryIO, size: int) -> bytes:
    found = file.read(size)
    if len(found) != size:
        raise DamagedTail("it ends too early")
    return found
