"""A segment: the rows of some revisions in a row, of one epoch, as the stream to other regions has them.

Its body, once unpacked, is a sequence of records, all integers big-endian::

    kind u8 | time u64, ms since 1970 | after revision u64 | last revision u64 | length u32 | payload
    kind 1: rows, packed as rstore_api/rows.py says
    kind 2: a revision that deleted all keys of a range; a DeletedRange of rstore_api/proto/rstore.proto

Rows carry no time. That of a record is the archiver's clock when it received it, never before that of the record before
it in the line; so each of its revisions was committed at that time or before it.

The first segment of an epoch, and the first of a line that begins anew, has no records: it says where the epoch leaves
the one before, or why the line begins here (``begins_because``). Then all three of its revisions say at which one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import msgspec
from google.protobuf.message import DecodeError
from rstore_api import rows
from rstore_api.domain.epochs import EpochStart, History, parent_of
from rstore_api.proto.rstore_pb2 import DeletedRange

from rstore_backup import names, sealed
from rstore_backup.errors import Damaged
from rstore_backup.sealed import Body, Sealed

MAGIC = b"RSTOLOG"
_RECORD = struct.Struct(">BQQQI")

Changes: TypeAlias = list[rows.Frame] | DeletedRange
"""What is in a record."""


class Kind(IntEnum):
    """What a record holds."""

    ROWS = 1
    DELETED_RANGE = 2


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The segment before in the line."""

    name: str
    sha256: str


class SegmentHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which revisions a segment has, and what they follow."""

    store_id: str
    history: History
    """The epochs up to and with the segment's own, with the first revision of each, its primary region and its parent's
    last revision (0: the one before the first)."""
    after_revision: int
    """The revision that the store had before the first row."""
    first_revision: int
    """Of the first row; the last one before an epoch's first row, or of the line's beginning, when there are none."""
    last_revision: int
    rows: int = 0
    """Changes of keys, leases, users and roles, those of deleted ranges included."""
    first_time_ms: int = 0
    last_time_ms: int = 0
    """Of the first and the last record; both when the epoch, or the line, was seen to begin, if there are none."""
    previous: Link | None = None
    """None: the line begins here."""
    begins_because: str = ""
    """Why a line begins here, for a person; "" when it goes on."""
    line_from_revision: int = 0
    """What follows this revision is in the archive without a hole, up to here; 0: the writer did not know."""

    @property
    def epoch(self) -> int:
        """The epoch of its rows."""
        return self.history[-1].epoch

    @property
    def name(self) -> str:
        """The name of the object."""
        return names.segment(self.epoch, self.first_revision)

    @property
    def begins_line(self) -> bool:
        """Whether what it follows is not in the archive, or not needed with a base at its revision."""
        return self.previous is None


@dataclass(frozen=True)
class Record:
    """The revisions after ``after_revision`` up to ``last_revision``, received together."""

    kind: Kind
    time_ms: int
    after_revision: int
    last_revision: int
    payload: bytes

    @property
    def size_bytes(self) -> int:
        """What it takes in a body."""
        return _RECORD.size + len(self.payload)

    def changes(self, history: Sequence[EpochStart]) -> Changes:
        """Returns what is in it. Raises DamagedRows."""
        return self.frames(history) if self.kind is Kind.ROWS else self.deleted()

    def frames(self, history: Sequence[EpochStart]) -> list[rows.Frame]:
        """Returns the rows of a record of the kind ROWS, their order checked. Raises DamagedRows."""
        frames = rows.unpack_frames(self.payload)
        if not frames or rows.last_revision_of(frames, self.after_revision, history) != self.last_revision:
            raise rows.DamagedRows(f"its rows do not end at revision {self.last_revision}")
        return frames

    def deleted(self) -> DeletedRange:
        """Returns what a record of the kind DELETED_RANGE says. Raises DamagedRows."""
        try:
            deleted = DeletedRange.FromString(self.payload)
        except DecodeError as error:
            raise rows.DamagedRows(f"a deletion of a range: {error}") from error
        if deleted.revision != self.last_revision:
            raise rows.DamagedRows(f"a deletion of revision {deleted.revision}, not {self.last_revision}")
        return deleted


@dataclass(frozen=True)
class Opened:
    """A segment of which everything is checked but its records, which are when they are read."""

    header: SegmentHeader
    _sealed: Sealed

    @property
    def sha256(self) -> str:
        """Its SHA-256, in hexadecimal."""
        return self._sealed.sha256

    def contents(self) -> Iterator[tuple[Record, Changes]]:
        """Yields the records, and what is in each. Raises Damaged; of what came before nothing may be used then."""
        header, count = self.header, 0
        revision, time_ms = header.after_revision, header.first_time_ms
        try:
            for record in _unpack(Body(self._sealed.pieces())):
                if record.after_revision != revision or record.last_revision <= revision:
                    raise rows.DamagedRows(
                        f"revisions {record.after_revision} to {record.last_revision} do not follow {revision}"
                    )
                if record.time_ms < time_ms:
                    raise rows.DamagedRows(f"the time of revision {record.last_revision} is before that of {revision}")
                revision, time_ms = record.last_revision, record.time_ms
                changes = record.changes(header.history)
                count += len(changes) if isinstance(changes, list) else changes.count
                yield record, changes
            if count != header.rows:
                raise rows.DamagedRows(f"the header says {header.rows} rows, there are {count}")
            if revision not in (header.after_revision, header.last_revision):
                raise rows.DamagedRows(
                    f"the header says revision {header.last_revision}, the records end at {revision}"
                )
        except rows.DamagedRows as error:
            raise Damaged(self._sealed.name, 0, str(error)) from error


@dataclass(frozen=True)
class Segment:
    """A whole segment."""

    header: SegmentHeader
    records: tuple[Record, ...]
    sha256: str
    size_bytes: int

    @property
    def link(self) -> Link:
        """How the segment after this one names it."""
        return Link(self.header.name, self.sha256)


def encode(header: SegmentHeader, records: Sequence[Record]) -> bytes:
    """Returns the object."""
    return sealed.seal(MAGIC, header, (part for record in records for part in (_head(record), record.payload)))


def opened(name: str, data: bytes) -> Opened:
    """Returns a segment that can be read record by record. Raises Damaged."""
    whole = sealed.unseal(name, MAGIC, data)
    return Opened(_checked(name, sealed.decode_header(name, whole.header, SegmentHeader)), whole)


def decode(name: str, data: bytes) -> Segment:
    """Returns a segment, all of it checked, the order of its rows too. Raises Damaged."""
    segment = opened(name, data)
    records = tuple(record for record, _ in segment.contents())
    return Segment(segment.header, records, segment.sha256, len(data))


def decode_header(name: str, data: bytes) -> SegmentHeader:
    """Returns the header from the beginning of an object, without a look at what follows it. Raises sealed.NeedsMore,
    Damaged.
    """
    return _checked(name, sealed.decode_header(name, sealed.header_of(name, MAGIC, data), SegmentHeader))


def _checked(name: str, header: SegmentHeader) -> SegmentHeader:
    """Returns the header when what it says can be."""
    problem = ""
    if not header.history:
        problem = "it has no epoch"
    elif header.name != name:
        problem = f"it is {header.name}"
    elif not 0 < header.after_revision <= header.first_revision <= header.last_revision:
        problem = f"revisions {header.first_revision} to {header.last_revision} after {header.after_revision}"
    elif (header.previous is None) != bool(header.begins_because):
        problem = "it names either the segment before it or why there is none"
    elif header.last_time_ms < header.first_time_ms:
        problem = "its times go back"
    elif header.after_revision < parent_of(header.history[-1]):
        problem = f"revision {header.after_revision} is before its epoch"
    if problem:
        raise Damaged(name, 0, f"its header is wrong: {problem}")
    return header


def _head(record: Record) -> bytes:
    return _RECORD.pack(record.kind, record.time_ms, record.after_revision, record.last_revision, len(record.payload))


def _unpack(body: Body) -> Iterator[Record]:
    while head := body.take(_RECORD.size):
        if len(head) < _RECORD.size:
            raise rows.DamagedRows(f"{len(head)} bytes are less than a record")
        kind, time_ms, after, last, size = _RECORD.unpack(head)
        payload = body.take(size)
        if kind not in iter(Kind) or len(payload) < size:
            raise rows.DamagedRows(f"a record of kind {kind} and {size} bytes, {len(payload)} are left")
        yield Record(Kind(kind), time_ms, after, last, payload)
