"""What a restore needs, by where it is to go to: through failovers, holes, bases, and on a branch that was lost."""

from __future__ import annotations

import msgspec
import pytest
from rstore_api.domain.epochs import REVISION_JUMP, EpochStart, History
from rstore_backup.bases import Manifest
from rstore_backup.line import Hole, line
from rstore_backup.restoring.plan import NotRestorable, Plan, Recoverable, jump_above, missing, time_of
from rstore_backup.segments import SegmentHeader
from unit.backup.archives import FAILED_OVER, FIRST, STORE_ID, header, link, listed, opening

A = opening(1, 1, FIRST)
B = header(1, 2, 4, previous=link(A))
C = header(4, 5, 9, previous=link(B))
D = header(9, 10, 12, previous=link(C))
FAILOVER = opening(4, 1_000_004, FAILED_OVER, previous=link(B))
AFTER = header(1_000_004, 1_000_005, 1_000_007, history=FAILED_OVER, previous=link(FAILOVER))
ANEW = header(20, 20, 20, rows_count=0, because="revisions 13 to 20 were compacted")
LATER = header(20, 21, 30, previous=link(ANEW))


def base(revision: int, history: History = FIRST, time_ms: int = 1500) -> Manifest:
    return Manifest(STORE_ID, "default", "orders", history, revision, time_ms, 1, 0, 0, ())


def recoverable(headers: tuple[SegmentHeader, ...], *bases: Manifest, epoch: int | None = None) -> Recoverable:
    return Recoverable.of(line(listed(headers), epoch), bases, epoch)


def shape(plan: Plan) -> tuple[int, list[tuple[int, int]], int]:
    start = plan.base.revision if plan.base is not None else 0
    return start, [(piece.header.first_revision, piece.until_revision) for piece in plan.pieces], plan.revision


@pytest.mark.parametrize(
    ("headers", "bases", "epoch", "revision", "expected"),
    [
        pytest.param((A,), (), None, 1, (0, [], 1), id="the empty store"),
        pytest.param((A, B, C), (), None, 3, (0, [(2, 4)], 3), id="inside a segment"),
        pytest.param((A, B, C), (), None, 9, (0, [(2, 4), (5, 9)], 9), id="at the end of the rows"),
        pytest.param((A, B, C), (base(4),), None, 9, (4, [(5, 9)], 9), id="from a base on"),
        pytest.param((A, B, C), (base(7),), None, 9, (7, [(5, 9)], 9), id="from a base inside a segment"),
        pytest.param((A, B, C), (base(4), base(7)), None, 6, (4, [(5, 9)], 6), id="the newest base before it"),
        pytest.param((A, B, C), (base(4),), None, 4, (4, [], 4), id="a base alone"),
        pytest.param((A, B, C), (base(4),), None, 3, (0, [(2, 4)], 3), id="before the first base"),
        pytest.param((A, B, C), (base(11),), None, 11, (11, [], 11), id="a base after the last row"),
        pytest.param((), (base(4), base(7)), None, 7, (7, [], 7), id="bases and no segments"),
        pytest.param((A, C, D), (base(4),), None, 12, (4, [(5, 9), (10, 12)], 12), id="a hole before the base"),
        pytest.param((A, B, D), (base(4),), None, 4, (4, [], 4), id="up to a hole"),
        pytest.param((A, B, C, D, ANEW, LATER), (base(25),), None, 30, (25, [(21, 30)], 30), id="after a hole"),
        pytest.param(
            (A, B, C, FAILOVER, AFTER), (), None, 1_000_006,
            (0, [(2, 4), (1_000_005, 1_000_007)], 1_000_006), id="through a failover, without the lost tail",
        ),
        pytest.param((A, B, C, FAILOVER, AFTER), (), None, 4, (0, [(2, 4)], 4), id="before a failover"),
        pytest.param(
            (A, B, C, FAILOVER, AFTER), (), None, 1_000_004, (0, [(2, 4)], 1_000_004), id="right before an epoch",
        ),
        pytest.param(
            (A, B, C, FAILOVER, AFTER), (base(7),), None, 1_000_007,
            (0, [(2, 4), (1_000_005, 1_000_007)], 1_000_007), id="not from a base of the lost tail",
        ),
        pytest.param(
            (A, B, C, FAILOVER, AFTER), (base(1_000_004, FAILED_OVER),), None, 1_000_007,
            (1_000_004, [(1_000_005, 1_000_007)], 1_000_007), id="from a base right before an epoch",
        ),
        pytest.param((A, B, C, FAILOVER, AFTER), (), 1, 9, (0, [(2, 4), (5, 9)], 9), id="on a branch that was lost"),
        pytest.param((A, B, C, FAILOVER, AFTER), (base(7),), 1, 8, (7, [(5, 9)], 8), id="a base of that branch"),
    ],
)  # fmt: skip
def test_a_restore_needs(
    headers: tuple[SegmentHeader, ...],
    bases: tuple[Manifest, ...],
    epoch: int | None,
    revision: int,
    expected: tuple[int, list[tuple[int, int]], int],
) -> None:
    assert shape(recoverable(headers, *bases, epoch=epoch).plan(revision)) == expected


@pytest.mark.parametrize(
    ("headers", "bases", "revision", "text"),
    [
        pytest.param((A, B), (), 5, "revision 5 is not in the archive; it can restore revisions 1 to 4 (", id="later"),
        pytest.param((C, D), (base(7),), 5, "before what the archive can restore, revisions 7 to 12 (", id="earlier"),
        pytest.param((A, B, D), (), 11, f"up to 9 are missing: {C.name} is missing", id="behind a hole"),
        pytest.param((A, B, D), (), 7, "the archive can restore revisions 1 to 4 (", id="inside a hole"),
        pytest.param(
            (A, B, C, D, ANEW, LATER), (base(25),), 22,
            "revisions 13 to 20 were compacted; the archive can restore revisions 1 to 12 (", id="two spans",
        ),
        pytest.param((C, D), (), 6, "nothing can be restored", id="no base"),
        pytest.param((), (), 5, "nothing can be restored", id="nothing"),
        pytest.param((A, B, C, FAILOVER), (base(9),), 9,
            "epoch 2 goes on from revision 4 at 1000005. --epoch 1 restores what was lost", id="a tail that was lost",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_restored_says_what_can(
    headers: tuple[SegmentHeader, ...], bases: tuple[Manifest, ...], revision: int, text: str
) -> None:
    with pytest.raises(NotRestorable) as refused:
        print(recoverable(headers, *bases).plan(revision))
    assert text in str(refused.value)


def test_spans_are_what_can_be_restored() -> None:
    spans = recoverable((A, B, C, D, ANEW, LATER), base(7), base(25), base(40)).spans()
    assert [(span.first_revision, span.last_revision) for span in spans] == [(1, 12), (25, 30), (40, 40)]


@pytest.mark.parametrize(
    ("headers", "bases", "expected"),
    [
        pytest.param((A, B, C), (), (1000, 2000), id="rows alone"),
        pytest.param((A, B, C), (base(9, time_ms=5000),), (1000, 5000), id="a base after hours without a row"),
        pytest.param((C,), (base(9, time_ms=5000),), (5000, 5000), id="that base alone"),
        pytest.param((A, B, C), (base(4, time_ms=1500), base(9, time_ms=5000)), (1000, 5000), id="the later of two"),
        pytest.param((C,), (base(11, time_ms=5000),), (5000, 5000), id="a base after the last row"),
        pytest.param((C,), (base(4, time_ms=5000),), (5000, 5000), id="a base by a clock that was ahead"),
    ],
)
def test_times_that_can_be_restored_reach_to_the_newest_row_or_base(
    headers: tuple[SegmentHeader, ...], bases: tuple[Manifest, ...], expected: tuple[int, int]
) -> None:
    own = recoverable(headers, *bases)
    (span,) = own.spans()
    assert (span.first_time_ms, span.last_time_ms) == expected
    assert own.at_time(expected[1]) == span.last_revision
    with pytest.raises(NotRestorable, match="is after the last rows and bases in the archive"):
        own.at_time(expected[1] + 1)


def test_at_the_time_before_a_hole_is_what_was_before_it_also_where_rows_behind_it_have_the_same_time() -> None:
    behind = msgspec.structs.replace(LATER, first_time_ms=2000, last_time_ms=3000)
    own = recoverable((A, B, C, D, ANEW, behind), base(25, time_ms=2500))
    before, after = own.spans()
    assert (before.last_time_ms, after.first_time_ms) == (2000, 2500)
    assert own.at_time(2000) == before.last_revision == 12
    with pytest.raises(NotRestorable, match="is where rows are missing"):
        own.at_time(2001)
    assert own.at_time(2500) == own.line.pieces[-1]


def test_the_new_store_goes_on_above_everything_that_the_old_one_may_have_answered() -> None:
    plan = recoverable((A, B, C, FAILOVER, AFTER)).plan(3)
    assert 3 + jump_above(plan, [9, 1_000_007]) == 1_000_007 + REVISION_JUMP
    assert jump_above(plan, []) == REVISION_JUMP


def test_words_for_a_person() -> None:
    assert time_of(1_764_438_000_250) == "2025-11-29T17:40:00.250Z"
    assert missing(Hole(4, 9, "x is missing")) == "the rows after revision 4 up to 9 are missing: x is missing"


def test_an_epoch_that_the_archive_does_not_have_is_nothing() -> None:
    assert recoverable((A, B), base(4), epoch=7).spans() == ()
    assert recoverable((A, B), base(4, (EpochStart(7, 2),)), epoch=7).plan(4).base is not None
