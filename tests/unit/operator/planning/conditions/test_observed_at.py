"""The heartbeat in a status: there while something is wrong, and no finer than half a minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rstore_operator.planning.conditions.observed_at import OBSERVED_EVERY_SECONDS, observed_at
from rstore_operator.resource.state import Condition, StoreStatus

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RECENT, OLD = NOW - timedelta(seconds=29), NOW - timedelta(seconds=OBSERVED_EVERY_SECONDS)
AHEAD = NOW + timedelta(hours=1)


def status(ready: str, degraded: str) -> StoreStatus:
    return StoreStatus(conditions=(Condition("Ready", ready), Condition("Degraded", degraded)))


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        (status("True", "False"), None, None),
        (status("True", "False"), RECENT, None),
        (status("False", "False"), None, NOW),
        (status("Unknown", "False"), RECENT, RECENT),
        (status("True", "True"), RECENT, RECENT),
        (status("True", "True"), OLD, NOW),
        (status("True", "True"), AHEAD, NOW),
        (StoreStatus(), None, NOW),
    ],
)
def test_the_next_one(after: StoreStatus, before: datetime | None, expected: datetime | None) -> None:
    assert observed_at(before, after, NOW) == expected
