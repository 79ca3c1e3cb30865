"""When a base is made, and what is kept."""

from __future__ import annotations

import pytest
from rstore_backup import names
from rstore_backup.archiver.rules import Wanted, next_base_ms, not_needed, on_line, pruning, recoverable, wanted
from rstore_backup.bases import Manifest
from unit.backup.archives import FAILED_OVER, FIRST, STORE_ID

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
THREE = 3 * HOUR_MS
"""03:00 UTC on the first of January 1970."""
NIGHTLY = "0 3 * * *"


def base(revision: int, time_ms: int = 0, history=FIRST) -> Manifest:  # type: ignore[no-untyped-def]
    return Manifest(STORE_ID, "team", "orders", history, revision, time_ms, 1, 0, 0, ())


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"has_base": False}, Wanted("the line had no base")),
        ({"has_base": False, "requests": ("r",)}, Wanted("the line had no base", "r")),
        ({}, None),
        ({"requests": ("a", "b"), "answered": {"a"}}, Wanted("it was requested", "b")),
        ({"requests": ("a",), "answered": {"a"}}, None),
        ({"schedule": NIGHTLY, "last_base_ms": THREE - 1, "now_ms": THREE}, Wanted("by schedule", scheduled=True)),
        ({"schedule": NIGHTLY, "last_base_ms": THREE - 1, "now_ms": THREE - 1}, None),
        ({"schedule": NIGHTLY, "last_base_ms": THREE + 5, "now_ms": THREE + HOUR_MS}, None),
        (
            {"schedule": NIGHTLY, "last_base_ms": THREE + 5, "now_ms": THREE + 9 * DAY_MS},
            Wanted("by schedule", scheduled=True),
        ),
    ],
)
def test_wanted(state: dict[str, object], expected: Wanted | None) -> None:
    usual = {
        "has_base": True, "last_base_ms": 0, "requests": (), "answered": set(), "schedule": "", "now_ms": DAY_MS,
    }  # fmt: skip
    assert wanted(**{**usual, **state}) == expected  # type: ignore[arg-type]


def test_when_the_next_base_is_due() -> None:
    assert next_base_ms(NIGHTLY, 0) == THREE
    assert next_base_ms(NIGHTLY, THREE) == THREE + DAY_MS
    assert next_base_ms("", THREE) == 0


def test_a_base_is_of_the_line_that_goes_on_from_it() -> None:
    lost, kept, newer = base(9), base(3), base(1_000_006, history=FAILED_OVER)
    assert [on_line(each, FAILED_OVER, 1_000_010) for each in (lost, kept, newer)] == [False, True, True]
    assert recoverable((lost, kept, newer), FAILED_OVER, 1_000_010, 1) == kept
    assert recoverable((lost, kept, newer), FAILED_OVER, 1_000_010, 4) == newer
    assert recoverable((lost, kept, newer), FAILED_OVER, 1_000_005, 4) is None
    assert recoverable((), FAILED_OVER, 1_000_010, 1) is None


@pytest.mark.parametrize(
    ("keep_bases", "keep_days", "dropped", "oldest"),
    [
        (0, 0, None, 0),
        (2, 0, [20, 10], 30),
        (9, 0, None, 0),
        (1, 0, [30, 20, 10], 40),
        (0, 1, [20, 10], 30),  # the base of two days ago serves what came after it
        (0, 2, [10], 20),
        (3, 1, [10], 20),
        (0, 30, None, 0),
    ],
)
def test_what_is_kept(keep_bases: int, keep_days: int, dropped: list[int] | None, oldest: int) -> None:
    made = [base(10 * number, number * DAY_MS) for number in range(1, 5)]
    decided = pruning(
        made,
        FIRST,
        45,
        keep_bases=keep_bases,
        keep_seconds=keep_days * DAY_MS // 1000,
        now_ms=4 * DAY_MS + HOUR_MS,
    )
    if dropped is None:
        assert decided is None
    else:
        assert decided is not None
        assert ([each.revision for each in decided.bases], decided.revision, decided.epoch) == (dropped, oldest, 1)


def test_a_base_of_a_branch_that_was_lost_does_not_count() -> None:
    kept, older, lost = base(4, DAY_MS), base(2, 0), base(9, 2 * DAY_MS)
    decided = pruning((older, kept, lost), FAILED_OVER, 1_000_010, keep_bases=1, keep_seconds=0, now_ms=3 * DAY_MS)
    assert decided is not None
    assert ([each.revision for each in decided.bases], decided.revision) == ([2], 4)


def test_segments_before_the_one_that_has_the_revision_are_not_needed() -> None:
    listed = [names.segment(*place) for place in ((1, 2), (1, 5), (1, 9), (2, 12), (2, 20))]
    assert not_needed(listed, 1, 1) == ()
    assert not_needed(listed, 1, 4) == ()
    assert not_needed(listed, 1, 7) == (listed[0],)
    assert not_needed(listed, 1, 9) == tuple(listed[:2])
    assert not_needed(listed, 2, 15) == tuple(listed[:3])
    assert not_needed([*listed, "segments/other"], 2, 99) == tuple(listed[:4])
