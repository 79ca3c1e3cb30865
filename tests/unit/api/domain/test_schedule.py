"""Schedules: which expressions are taken, and when they are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from rstore_api.domain.schedule import Schedule

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""A Sunday."""


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("0 3 * * *", "2026-03-01 03:00", "2026-03-02 03:00"),
        ("*/15 * * * *", "2026-03-01 11:45", "2026-03-01 12:15"),
        ("0 0 * * 1-5", "2026-02-27 00:00", "2026-03-02 00:00"),
        ("30 1 1,15 * *", "2026-03-01 01:30", "2026-03-15 01:30"),
        ("0 12 * * SUN", "2026-02-22 12:00", "2026-03-08 12:00"),
        ("5 4 29 feb *", "2024-02-29 04:05", "2028-02-29 04:05"),
        ("0 0 * * 7", "2026-03-01 00:00", "2026-03-08 00:00"),
    ],
)
def test_when_a_schedule_is_due(text: str, before: str, after: str) -> None:
    schedule = Schedule.parse(text)
    assert schedule.before(NOON) == datetime.fromisoformat(before).replace(tzinfo=UTC)
    assert schedule.after(NOON) == datetime.fromisoformat(after).replace(tzinfo=UTC)


def test_times_are_in_utc_whatever_the_zone_of_the_moment_is() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert Schedule.parse("0 3 * * *").after(elsewhere) == datetime(2026, 3, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *",
        "* * * * 8", "0 0 L * *", "0 0 * * MON#2", "0 0 * * FRIL", "*/0 * * * *", "5-3 * * * *", "0 0 * XYZ *",
        "0 0 30 2 *", "0 0 31 feb,apr *", "0 3 * * *\n", " 0 3 * * *", "0,".ljust(101, "1") + " * * * *", None, 5,
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_a_reason(text: object) -> None:
    with pytest.raises(ValueError, match="schedule"):
        Schedule.parse(text)
