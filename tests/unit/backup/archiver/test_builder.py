"""What a region sends becomes segments that follow each other, and what cannot follow is refused."""

from __future__ import annotations

import pytest
from rstore_api import rows
from rstore_api.domain.epochs import EpochStart, History
from rstore_api.messages import history_messages
from rstore_api.proto.rstore_pb2 import DeletedRange, FollowBegin, StreamBatch
from rstore_backup import segments
from rstore_backup.archiver.builder import FIRST as BEGUN
from rstore_backup.archiver.builder import Contradiction, Draft, LineBuilder, Tip
from rstore_backup.segments import Link
from unit.backup.archives import FAILED_OVER, FIRST, STORE_ID, put

TIP = Tip(FIRST, 6, 1000, 1, Link("segments/x", "00"))


def begin(after: int, history: History = FIRST, *, fork: int = 0, compacted: bool = False) -> FollowBegin:
    return FollowBegin(history=history_messages(history), after_revision=after, fork_revision=fork, compacted=compacted)


def batch(after: int, *revisions: int, history: History = FIRST, last: int = 0) -> StreamBatch:
    packed = rows.pack_batch([put(revision) for revision in revisions]) if revisions else b""
    return StreamBatch(
        prev_revision=after,
        last_revision=last or revisions[-1],
        rows=packed,
        row_count=len(revisions),
        history=history_messages(history),
    )


def shape(line: LineBuilder) -> list[tuple[int, int, int, int, int]]:
    line.cut()
    for draft in line.drafts:
        encoded(draft)
    return [
        (h.epoch, h.after_revision, h.first_revision, h.last_revision, h.rows)
        for h in (draft.header for draft in line.drafts)
    ]


def encoded(draft: Draft) -> None:
    """A draft is a segment that can be read, once it has its link."""
    header = draft.header
    if not header.begins_because:
        header = segments.SegmentHeader(
            *[getattr(header, field) for field in header.__struct_fields__ if field != "previous"][:8],
            previous=Link("segments/before", "00"),
            line_from_revision=header.line_from_revision,
        )
    assert segments.decode(header.name, segments.encode(header, draft.records)).header == header


def test_an_archive_is_begun() -> None:
    line = LineBuilder(STORE_ID, Tip())
    line.begin(begin(4), 50)
    line.take(batch(4, 5, 6), 60)
    assert shape(line) == [(1, 4, 4, 4, 0), (1, 4, 5, 6, 2)]
    assert line.drafts[0].header.begins_because == BEGUN
    assert (line.line_from_revision, line.drafts[1].header.line_from_revision) == (4, 4)
    assert (line.drafts[0].header.first_time_ms, line.drafts[1].header.last_time_ms) == (50, 60)


def test_it_goes_on_from_a_tip() -> None:
    line = LineBuilder(STORE_ID, TIP)
    line.begin(begin(6), 50)
    line.take(batch(6, 7), 60)
    line.take(batch(7, 8, 9), 70)
    assert line.waiting_since_ms == line.open_since_ms == 1000  # the clock went back: never before the tip's time
    assert shape(line) == [(1, 6, 7, 9, 3)]
    assert not line.drafts[0].forks
    assert line.open_since_ms == 0


def test_a_switchover_without_rows_and_then_with() -> None:
    switched = (*FIRST, EpochStart(2, 8, "west"))
    line = LineBuilder(STORE_ID, TIP)
    line.begin(begin(6), 50)
    line.take(batch(6, 7), 60)
    line.take(batch(7, history=switched, last=7), 70)
    line.take(batch(7, 8, history=switched), 80)
    assert shape(line) == [(1, 6, 7, 7, 1), (2, 7, 7, 7, 0), (2, 7, 8, 8, 1)]


def test_the_last_rows_of_an_epoch_come_with_the_news_of_the_next() -> None:
    switched = (*FIRST, EpochStart(2, 8, "west"))
    line = LineBuilder(STORE_ID, TIP)
    line.begin(begin(6), 50)
    line.take(batch(6, 7, history=switched), 60)
    assert shape(line) == [(1, 6, 7, 7, 1), (2, 7, 7, 7, 0)]


def test_a_failover_that_loses_what_was_archived() -> None:
    line = LineBuilder(STORE_ID, TIP)
    line.begin(begin(6), 50)
    line.take(batch(6, 7), 60)
    line.begin(begin(4, fork=4), 70)
    line.take(batch(4, history=FAILED_OVER, last=1_000_004), 70)
    line.take(batch(1_000_004, 1_000_005, history=FAILED_OVER), 80)
    assert shape(line) == [(1, 6, 7, 7, 1), (2, 4, 1_000_004, 1_000_004, 0), (2, 1_000_004, 1_000_005, 1_000_005, 1)]
    assert [draft.forks for draft in line.drafts] == [False, True, False]
    assert line.line_from_revision == 1


def test_a_failover_to_before_the_line() -> None:
    line = LineBuilder(STORE_ID, Tip(FIRST, 6, 1000, 5, Link("segments/x", "00")))
    line.begin(begin(4, fork=4), 70)
    line.take(batch(4, 1_000_005, history=FAILED_OVER), 70)
    assert line.line_from_revision == 4
    assert [draft.header.line_from_revision for draft in line.drafts] == [4]


def test_two_epochs_in_which_nothing_was_written() -> None:
    third = (*FAILED_OVER, EpochStart(3, 2_000_005, "east", 1_000_004))
    line = LineBuilder(STORE_ID, Tip(FIRST, 4, 1000, 1, Link("segments/x", "00")))
    line.begin(begin(4), 50)
    line.take(batch(4, history=third, last=2_000_004), 60)
    assert shape(line) == [(2, 4, 1_000_004, 1_000_004, 0), (3, 1_000_004, 2_000_004, 2_000_004, 0)]


def test_an_epoch_that_nobody_wrote_in_and_the_next_primary_never_knew() -> None:
    dead = (*FIRST, EpochStart(2, 7, "west"))
    third = (*FIRST, EpochStart(3, 7, "south"))
    line = LineBuilder(STORE_ID, Tip(dead, 6, 1000, 1, Link("segments/x", "00")))
    line.begin(begin(6, fork=6), 50)
    line.take(batch(6, 7, history=third), 60)
    assert shape(line) == [(3, 6, 6, 6, 0), (3, 6, 7, 7, 1)]
    assert line.drafts[0].forks


def test_rows_that_were_compacted() -> None:
    line = LineBuilder(STORE_ID, TIP)
    line.begin(begin(20, fork=6, compacted=True), 50)
    assert shape(line) == [(1, 20, 20, 20, 0)]
    assert line.line_because == "revisions 7 to 20 were compacted before they were archived"


def test_a_deletion_of_a_range() -> None:
    line = LineBuilder(STORE_ID, TIP)
    line.begin(begin(6), 50)
    deletion = batch(6, last=7)
    deletion.deleted.CopyFrom(DeletedRange(revision=7, key=b"a", range_end=b"z", count=9000))
    line.take(deletion, 60)
    assert shape(line) == [(1, 6, 7, 7, 9000)]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (batch(7, 8), "rows after 7 came, 6 is the last"),
        (batch(6, 8), "row 8.0 does not follow row 6"),
        (batch(6, 7, last=9), "its rows do not end at revision 9"),
        (batch(6, history=FAILED_OVER, last=1_000_004), "epoch 2 follows revision 4, 6 is the last"),
        (StreamBatch(prev_revision=6, last_revision=7, rows=b"damaged row", history=history_messages(FIRST)), "batch"),
        (batch(6, last=9), "a batch up to 9 ends at 6"),
    ],
)
def test_what_does_not_follow_is_refused(wrong: StreamBatch, reason: str) -> None:
    line = LineBuilder(STORE_ID, TIP)
    line.begin(begin(6), 50)
    with pytest.raises(Contradiction, match=reason):
        line.take(wrong, 60)
    assert shape(line) == []
