"""The heartbeat in a store's status: present only while something is wrong, so that a store at rest costs no write."""

from __future__ import annotations

from datetime import datetime

from rstore_operator.resource.state import StoreStatus

OBSERVED_EVERY_SECONDS = 30.0


def observed_at(before: datetime | None, status: StoreStatus, now: datetime) -> datetime | None:
    """Returns the next ``StoreStatus.observed_at``: ``before`` until that is OBSERVED_EVERY_SECONDS old; None when the
    store is ready and nothing is missing."""
    ready, degraded = status.condition("Ready"), status.condition("Degraded")
    if ready is not None and ready.status == "True" and (degraded is None or degraded.status == "False"):
        return None
    if before is not None and 0 <= (now - before).total_seconds() < OBSERVED_EVERY_SECONDS:
        return before
    return now
