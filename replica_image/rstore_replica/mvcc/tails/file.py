"""The file of a diverged tail: its format, and reading it.

``<epoch>-<first revision>-<last revision>.wal``, all integers big-endian::

    "RSTQ" | version u8 = 2 | header length u32 | CRC32C of the header u32 | header (msgpack)
    part: length u32 | a packed batch of rows, with its own checksum (``rstore_api/rows.py``)
    end:  0 u32 | rows u64 | revisions u64 | CRC32C of those two u32

The same rows in the same steps make the same bytes, so every replica's file is the same. A reader checks every
length and checksum; :class:`DamagedTail` names the file and where in it the damage is.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import google_crc32c
import msgspec
from rstore_api import rows

from rstore_replica.mvcc.tail_facts import Tail, TailHeader

MAGIC = b"RSTQ"
FORMAT_VERSION = 2
PART_BYTES = 256 << 10
"""A part ends with the row that makes it this large."""
MAX_PART_BYTES = 256 << 20
_START = struct.Struct(">4sBII")
_LENGTH = struct.Struct(">I")
_COUNTS = struct.Struct(">QQ")
_CHECKSUM = struct.Struct(">I")
_END_BYTES = _LENGTH.size + _COUNTS.size + _CHECKSUM.size


class DamagedTail(ValueError):  # noqa: N818
    """A quarantine file is not what was written; the text says which, where, and what is wrong with it."""


class Part(NamedTuple):
    """Some rows of a file, and where the next part begins."""

    rows: list[rows.Row]
    next_offset: int


def start_bytes(header: TailHeader) -> bytes:
    """Returns the beginning of a file."""
    encoded = msgspec.msgpack.encode(header)
    return _START.pack(MAGIC, FORMAT_VERSION, len(encoded), google_crc32c.value(encoded)) + encoded


def part_bytes(frames: Sequence[bytes]) -> bytes:
    """Returns a part of the rows in ``frames``: frame headers and bodies in turn."""
    packed = rows.join_frames(frames, len(frames) // 2)
    return _LENGTH.pack(len(packed)) + packed


def end_bytes(count: int, revisions: int) -> bytes:
    """Returns the end of a file."""
    counts = _COUNTS.pack(count, revisions)
    return _LENGTH.pack(0) + counts + _CHECKSUM.pack(google_crc32c.value(counts))


def read_summary(path: Path) -> Tail:
    """Returns what a file's beginning and end say of it, without the rows between. Raises DamagedTail."""
    with _Reading(path) as reading:
        header = reading.header()
        size = reading.file.seek(0, os.SEEK_END)
        reading.seek(max(0, size - _END_BYTES))
        count, revisions = reading.end(reading.file.read())
    return Tail(path.name, header, count, revisions, size)


def read_part(path: Path, offset: int = 0) -> Part | None:
    """Returns the rows at ``offset`` (0: the first), None at the end of the file. Raises DamagedTail."""
    with _Reading(path) as reading:
        if offset:
            reading.seek(offset)
        else:
            reading.header()
        return reading.part()


def read_rows(path: Path) -> Iterator[rows.Row]:
    """All rows of a file, in order, one part in memory at a time. Raises DamagedTail, at the latest at the end."""
    count, offset = 0, 0
    while (part := read_part(path, offset)) is not None:
        count += len(part.rows)
        offset = part.next_offset
        yield from part.rows
    if count != (stated := read_summary(path).count):
        raise DamagedTail(f"{path.name} holds {count} rows, its end says {stated}")


class _Reading:
    """One open file; errors name the file and the place."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._path = path
        self.file: BinaryIO
        self._at = 0

    def __enter__(self) -> _Reading:
        try:
            self.file = self._path.open("rb")
        except OSError as error:
            raise DamagedTail(f"{self._name} cannot be read: {error.strerror}") from error
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.file.close()
        if isinstance(error, OSError):
            raise DamagedTail(f"{self._name} cannot be read at offset {self._at}: {error.strerror}") from error
        if isinstance(error, rows.DamagedRows):
            raise self._damaged(str(error)) from error

    def seek(self, offset: int) -> None:
        self._at = self.file.seek(offset)

    def header(self) -> TailHeader:
        magic, version, length, checksum = _START.unpack(self._exactly(_START.size))
        if magic != MAGIC or version != FORMAT_VERSION:
            raise self._damaged(f"it begins with {magic!r}, version {version}")
        if length > MAX_PART_BYTES:
            raise self._damaged(f"a header of {length} bytes")
        encoded = self._exactly(length)
        if google_crc32c.value(encoded) != checksum:
            raise self._damaged("the checksum of the header does not match")
        try:
            header = msgspec.msgpack.decode(encoded, type=TailHeader)
        except msgspec.MsgspecError as error:
            raise self._damaged(f"the header cannot be decoded: {error}") from error
        self._at = self.file.tell()
        return header

    def part(self) -> Part | None:
        self._at = self.file.tell()
        length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        if not length:
            self.seek(self._at)
            self.end(self.file.read(_END_BYTES + 1))
            return None
        if length > MAX_PART_BYTES:
            raise self._damaged(f"a part of {length} bytes")
        part_rows = [row for row, _ in rows.unpack_batch(self._exactly(length))]
        return Part(part_rows, self.file.tell())

    def end(self, ending: bytes) -> tuple[int, int]:
        if len(ending) != _END_BYTES:
            raise self._damaged("it ends too early or too late")
        counts = ending[_LENGTH.size : -_CHECKSUM.size]
        if ending[: _LENGTH.size] != bytes(_LENGTH.size) or ending[-_CHECKSUM.size :] != _CHECKSUM.pack(
            google_crc32c.value(counts)
        ):
            raise self._damaged("its end is not what was written")
        count, revisions = _COUNTS.unpack(counts)
        return count, revisions

    def _exactly(self, size: int) -> bytes:
        data = self.file.read(size)
        if len(data) != size:
            raise self._damaged("it ends too early")
        return data

    def _damaged(self, what: str) -> DamagedTail:
        return DamagedTail(f"{self._name} is damaged at offset {self._at}: {what}")
