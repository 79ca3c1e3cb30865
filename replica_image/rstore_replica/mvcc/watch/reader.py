"""Reads the rows that watchers have not seen, in parts that keep nobody waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rstore_api import rows
from rstore_api.domain.epochs import settled

from rstore_replica.mvcc.data import layout
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.data.store import Position
from rstore_replica.mvcc.watch.events import Change

T = TypeVar("T")

_KEY_AT = rows.BODY_HEADER_BYTES

Match = Callable[[bytes], tuple[list[T], bool]]
"""Key to whom its changes matter (nobody: empty), and whether one of them wants the key before the change."""


@dataclass
class Part(Generic[T]):
    """Some rows in order, as far as they matter to somebody."""

    data_id: int
    """Which data was read: another number after a checkpoint took the place of the data."""
    whole_from: int
    """The first revision of which all rows are there. Where it is above what was asked for nothing was read."""
    changes: list[tuple[list[T], Change]] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0
    previous_bytes: int = 0
    """Of the values before the changes."""
    next_revision: int = 0
    """Where the next part begins."""
    next_sub: int = 0


def whole_from(position: Position, floor: int) -> int:
    """Returns the first revision of which no row has been removed; ``floor`` is up to where compaction may have come.

    Compaction keeps a deletion in its own revision; where a snapshot of another region took the place of the data, or
    an older version compacted it, there is none.
    """
    return floor + 1 if (position.swept_revision, position.swept_sub) >= (floor, layout.MASK32) else floor


def read_part(
    reader: Reader,
    position: Position,
    *,
    data_id: int,
    floor: int,
    start: tuple[int, int],
    end: int,
    match: Match[T],
    max_rows: int,
    max_bytes: int,
    max_previous_bytes: int,
) -> Part[T]:
    """Returns the rows from ``start`` (revision, sub-revision) up to revision ``end``, about as many as allowed.

    Without a row ``next_revision`` is the one after ``end``. Beyond ``max_previous_bytes`` changes come without what
    was before them.
    """
    first, sub = start
    part: Part[T] = Part(data_id, whole_from(position, floor))
    if first < part.whole_from and first - 1 < settled(reader.history(), part.whole_from - 1):
        return part
    end = min(end, position.revision)
    part.next_revision, part.next_sub = end + 1, 0
    after, count, size = layout.ROW_KEY.pack(end + 1, 0), 0, 0
    with reader.transaction.cursor(reader.store.rows) as cursor:
        positioned = cursor.set_range(layout.ROW_KEY.pack(first, sub))
        for row_key, body in cursor.iternext(keys=True, values=True) if positioned else ():
            if row_key >= after:
                break
            if count >= max_rows or (count and size + len(body) > max_bytes):
                part.next_revision, part.next_sub = layout.ROW_KEY.unpack(row_key)
                break
            count += 1
            size += len(body)
            if special := body[rows.FLAGS_AT] & rows.SPECIAL_BITS:
                if special & rows.KIND_BITS:
                    continue
                key = rows.key_of(body)
            else:
                key = body[_KEY_AT : _KEY_AT + (body[2] << 8 | body[3])]
            interested, wants_previous = match(key)
            if interested:
                revision, sub = layout.ROW_KEY.unpack(row_key)
                row = rows.unpack(revision, sub, body)
                change = Change(row)
                if wants_previous and (row.deletion or row.version > 1):
                    there = revision > position.compact_revision and part.previous_bytes < max_previous_bytes
                    entry = reader.entry(row.key, revision - 1) if there else None
                    if entry is not None:
                        change.previous = reader.key_value(row.key, entry)
                        part.previous_bytes += len(change.previous.value)
                part.changes.append((interested, change))
    part.rows, part.size_bytes = count, size
    return part
