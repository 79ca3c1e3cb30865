"""What a restore has in memory does not grow with the archive."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from rstore_api import rows
from rstore_api.domain.epochs import EpochStart
from rstore_backup import bases, names, segments
from rstore_backup.bases import PartHeader
from rstore_backup.restoring.catalogue import in_order, read_catalogue
from rstore_backup.segments import Kind, Record, SegmentHeader
from unit.backup.archives import STORE_ID
from unit.backup.restoring.histories import Archived

HISTORY = (EpochStart(1, 2, "east"),)
BATCHES, ROWS, VALUE_BYTES = 100, 10, 32 << 10
REVISIONS = BATCHES * ROWS


def _batches() -> Iterator[bytes]:
    for first in range(2, 2 + REVISIONS, ROWS):
        puts = (rows.Row(at, 0, b"k%d" % at, bytes(VALUE_BYTES), at, 1) for at in range(first, first + ROWS))
        yield rows.pack_batch(puts)


def _segment() -> bytes:
    header = SegmentHeader(STORE_ID, HISTORY, 1, 2, 1 + REVISIONS, REVISIONS, begins_because="it is the first")
    records = (Record(Kind.ROWS, 0, 1 + at * ROWS, 1 + (at + 1) * ROWS, batch) for at, batch in enumerate(_batches()))
    return segments.encode(header, tuple(records))


def _part() -> bytes:
    return bases.encode_part(PartHeader(STORE_ID, HISTORY, 1 + REVISIONS, 0, REVISIONS), tuple(_batches()))


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (_segment(), lambda data: segments.opened(names.segment(1, 2), data).contents()),
        (_part(), lambda data: bases.decode_part("part", data).chunks()),
    ],
    ids=["segment", "part"],
)
def test_an_object_is_read_piece_by_piece(data: bytes, read: Callable[[bytes], Iterator[object]]) -> None:
    tracemalloc.start()
    try:
        deque(read(data), maxlen=0)
        assert tracemalloc.get_traced_memory()[1] < REVISIONS * VALUE_BYTES / 4
    finally:
        tracemalloc.stop()


async def test_objects_are_read_ahead_up_to_a_number_of_bytes() -> None:
    begun: list[int] = []

    async def read(size: int) -> int:
        begun.append(size)
        return size

    sizes = [30, 30, 30, 30, 500, 10, 10]
    ahead = in_order(sizes, read, in_flight=3, size_of=lambda size: size, ahead_bytes=100)
    taken: list[int] = []
    most: list[int] = []
    async for size in ahead:
        taken.append(size)
        await asyncio.sleep(0)
        most.append(sum(begun) - sum(taken))
    assert taken == sizes
    assert most == [60, 60, 30, 0, 0, 10, 0]


async def test_segments_share_the_history_in_their_headers() -> None:
    archived = Archived(3)
    for _ in range(3):
        archived.change()
        archived.cut()
    archived.finish()
    listed = (await read_catalogue(archived.store, STORE_ID)).segments
    assert len(listed) > 3
    assert len({id(each.header.history) for each in listed}) == len({each.header.history for each in listed})
