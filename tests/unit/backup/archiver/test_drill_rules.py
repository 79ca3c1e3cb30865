"""When a drill is due, whether the archive has what it is compared with, and what its result says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rstore_api.domain.epochs import EpochStart
from rstore_backup.archiver.drill_rules import (
    Fingerprint,
    Restored,
    Standing,
    WantedDrill,
    drill_wanted,
    judged,
    standing,
)
from rstore_backup.report import DrillResult
from unit.backup.archives import FAILED_OVER, FIRST

NOW_MS = int(datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000
AT_THREE = "0 3 * * *"


@pytest.mark.parametrize(
    ("what", "given", "expected"),
    [
        ("nothing asks for one", {}, None),
        ("the first of a schedule", {"schedule": AT_THREE}, WantedDrill()),
        ("it was made after the last time", {"schedule": AT_THREE, "last_ms": NOW_MS - 8 * HOUR_MS}, None),
        ("it was made before the last time", {"schedule": AT_THREE, "last_ms": NOW_MS - 10 * HOUR_MS}, WantedDrill()),
        ("at the very moment", {"schedule": "0 12 * * *", "last_ms": NOW_MS - HOUR_MS}, WantedDrill()),
        ("it is asked for", {"request": "now"}, WantedDrill("now")),
        ("it was asked for and made", {"request": "now", "last_request": "now", "last_ms": NOW_MS}, None),
        ("it is asked for again", {"request": "again", "last_request": "now", "last_ms": NOW_MS}, WantedDrill("again")),
        ("nothing can be restored yet", {"request": "now", "schedule": AT_THREE, "recoverable": False}, None),
    ],
)
def test_when_a_drill_is_made(what: str, given: dict[str, object], expected: WantedDrill | None) -> None:
    defaults = {"schedule": "", "request": "", "last_request": "", "last_ms": 0, "recoverable": True, "now_ms": NOW_MS}
    assert drill_wanted(**{**defaults, **given}) == expected, what  # type: ignore[arg-type]


JUMPED = 1_000_006
"""A revision of epoch 2, which left epoch 1 at revision 4."""


@pytest.mark.parametrize(
    ("what", "line", "archived", "fingerprint", "expected"),
    [
        ("it is archived", FIRST, 9, (FIRST, 9), Standing.ARCHIVED),
        ("more is archived", FIRST, 12, (FIRST, 9), Standing.ARCHIVED),
        ("it comes", FIRST, 8, (FIRST, 9), Standing.AHEAD),
        ("nothing was read yet", (), 0, (FIRST, 9), Standing.AHEAD),
        ("of an epoch that comes", FIRST, 9, (FAILED_OVER, JUMPED), Standing.AHEAD),
        ("of an epoch that the line has", FAILED_OVER, JUMPED, (FAILED_OVER, JUMPED), Standing.ARCHIVED),
        ("before the fork", FAILED_OVER, JUMPED, (FIRST, 4), Standing.ARCHIVED),
        ("behind the fork, lost", FAILED_OVER, JUMPED, (FIRST, 5), Standing.LEFT),
        ("lost, nothing archived since", FAILED_OVER, 4, (FIRST, 5), Standing.LEFT),
    ],
)
def test_where_the_fingerprint_is(
    what: str,
    line: tuple[EpochStart, ...],
    archived: int,
    fingerprint: tuple[tuple[EpochStart, ...], int],
    expected: Standing,
) -> None:
    history, revision = fingerprint
    assert standing(line, archived, Fingerprint("east", history, revision, 0, 0)) is expected, what


def test_what_a_drill_says() -> None:
    restored, region = Restored(9, 2, 0xAB), Fingerprint("east", FIRST, 9, 2, 0xAB)
    assert judged(restored, region, "") == (DrillResult.SUCCEEDED, "2 keys at revision 9, as in region east")
    assert judged(restored, None, "it hangs") == (
        DrillResult.SUCCEEDED,
        "2 keys at revision 9; they were compared with no region: it hangs",
    )
    assert judged(restored, Fingerprint("east", FIRST, 9, 2, 0xAC), "") == (
        DrillResult.FAILED,
        "at revision 9 the archive has 2 keys with hash 000000ab, and region east has 2 with hash 000000ac",
    )
    result, text = judged(Restored(9, 1, 0xAB, ("segments/7",)), Fingerprint("east", FIRST, 9, 1, 0xAB), "")
    assert result is DrillResult.SUCCEEDED
    assert text == "1 key at revision 9, as in region east; passed over, since they are damaged: segments/7"
    _, text = judged(Restored(9, 1, 0xAB, tuple("abcdefg")), None, "it hangs")
    assert text.endswith("it hangs; passed over, since they are damaged: a, b, c, d, e and 2 more")
