"""A segment comes back as it was written, and whatever is not as it was written is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rstore_api import rows
from rstore_api.proto.rstore_pb2 import DeletedRange
from rstore_backup import sealed, segments
from rstore_backup.errors import Damaged
from rstore_backup.segments import Kind, Link, Record, SegmentHeader
from unit.backup.archives import FAILED_OVER, FIRST, STORE_ID, header, put, record

RECORDS = (
    record(1, put(2), put(2, b"other", sub=1), put(3), time_ms=1000),
    Record(
        Kind.DELETED_RANGE,
        1500,
        3,
        4,
        DeletedRange(revision=4, key=b"a", range_end=b"z", count=7, checksum=9).SerializeToString(),
    ),
    record(4, put(5), time_ms=2000),
)
HEADER = SegmentHeader(STORE_ID, FIRST, 1, 2, 5, 11, 1000, 2000, Link("segments/x", "00"))
WHOLE = segments.encode(HEADER, RECORDS)


def test_what_was_written_is_read() -> None:
    segment = segments.decode(HEADER.name, WHOLE)
    assert (segment.header, segment.records, segment.size_bytes) == (HEADER, RECORDS, len(WHOLE))
    assert segment.link == Link(HEADER.name, WHOLE[-32:].hex())
    assert [frame[:2] for frame in segment.records[0].frames(FIRST)] == [(2, 0), (2, 1), (3, 0)]
    assert segment.records[1].deleted().count == 7


def test_every_truncation_is_refused() -> None:
    for size in range(len(WHOLE)):
        with pytest.raises(Damaged) as refused:
            segments.decode(HEADER.name, WHOLE[:size])
        assert refused.value.name == HEADER.name
        assert refused.value.offset <= len(WHOLE)


def test_every_flipped_bit_is_refused() -> None:
    for position in range(len(WHOLE)):
        for bit in range(8):
            changed = bytearray(WHOLE)
            changed[position] ^= 1 << bit
            with pytest.raises(Damaged):
                segments.decode(HEADER.name, bytes(changed))


def test_bytes_behind_the_end_are_refused() -> None:
    with pytest.raises(Damaged, match="bytes, there are"):
        segments.decode(HEADER.name, WHOLE + b"\0")


def test_another_object_under_the_name_is_refused() -> None:
    with pytest.raises(Damaged, match=r"it is segments/0000000000000001/0000000000000002\.rsl"):
        segments.decode("segments/0000000000000001/0000000000000009.rsl", WHOLE)


def test_the_header_is_read_from_the_beginning_of_an_object() -> None:
    with pytest.raises(sealed.NeedsMore) as short:
        segments.decode_header(HEADER.name, WHOLE[:20])
    assert segments.decode_header(HEADER.name, WHOLE[: short.value.size_bytes]) == HEADER
    flipped = bytearray(WHOLE[: short.value.size_bytes])
    flipped[40] ^= 1
    with pytest.raises(Damaged, match="checksum of its header"):
        segments.decode_header(HEADER.name, bytes(flipped))


def test_the_first_row_of_an_epoch_follows_its_jump() -> None:
    records = (record(4, put(1_000_005)),)
    after_jump = header(4, 1_000_005, 1_000_005, history=FAILED_OVER, previous=Link("x", "00"))
    assert segments.decode(after_jump.name, segments.encode(after_jump, records)).records == records


@pytest.mark.parametrize(
    ("changed", "records", "reason"),
    [
        ({"rows": 12}, RECORDS, "the header says 12 rows, there are 11"),
        ({"last_revision": 6}, RECORDS, "the header says revision 6, the records end at 5"),
        ({"rows": 4}, RECORDS[:1] + RECORDS[2:], "do not follow 3"),
        ({"first_time_ms": 1200}, RECORDS, "is before that of"),
        ({"rows": 1}, (record(1, put(3)),), "row 3.0 does not follow row 1"),
        ({"previous": None}, RECORDS, "either the segment before it or why"),
        ({"begins_because": "no reason"}, RECORDS, "either the segment before it or why"),
        ({"after_revision": 3}, RECORDS, "its header is wrong"),
        ({"last_time_ms": 10}, RECORDS, "times go back"),
    ],
)
def test_a_writer_that_contradicts_itself_is_noticed(
    changed: dict[str, object], records: tuple[Record, ...], reason: str
) -> None:
    wrong = msgspec.structs.replace(HEADER, **changed)
    with pytest.raises(Damaged, match=reason):
        segments.decode(HEADER.name, segments.encode(wrong, records))


@given(
    values=st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.binary(max_size=200)), min_size=1, max_size=30),
    cut=st.integers(0, 10**6),
)
def test_any_rows_come_back_and_no_part_of_them_alone(values: list[tuple[bytes, bytes]], cut: int) -> None:
    changes = [put(2 + number, key, value) for number, (key, value) in enumerate(values)]
    records = (record(1, *changes),)
    of_all = header(1, 2, changes[-1].revision)
    data = segments.encode(of_all, records)
    read = segments.decode(of_all.name, data)
    assert [row for row, _ in rows.unpack_batch(read.records[0].payload)] == changes
    with pytest.raises(Damaged):
        segments.decode(of_all.name, data[: cut % len(data)])
