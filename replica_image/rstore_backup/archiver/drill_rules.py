"""When a drill is made, whether the archive has what it is compared with, and what it has shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from rstore_api.domain.epochs import History, epoch_of
from rstore_api.domain.forks import Chain, fork_revision
from rstore_api.domain.schedule import Schedule

from rstore_backup.report import DrillResult

MAX_NAMED = 5
"""Damaged objects that are named."""


@dataclass(frozen=True)
class WantedDrill:
    """A drill that is to be made now; ``request`` is "" for one that the schedule wants."""

    request: str = ""


def drill_wanted(
    *, schedule: str, request: str, last_request: str, last_ms: int, recoverable: bool, now_ms: int
) -> WantedDrill | None:
    """Returns the drill that is to be made now, if any. Where nothing can be restored yet it waits until something can.

    ``last_ms`` is when the last drill began, and ``last_request`` the request that it answered. The first drill of a
    schedule is made at once.
    """
    if not recoverable:
        return None
    if request and request != last_request:
        return WantedDrill(request)
    if schedule:
        due = Schedule.parse(schedule).before(datetime.fromtimestamp((now_ms + 1) / 1000, UTC))
        if last_ms < round(due.timestamp() * 1000):
            return WantedDrill()
    return None


@dataclass(frozen=True)
class Fingerprint:
    """The keys of a region at a revision: how many, and their HashKV."""

    region: str
    history: History
    revision: int
    keys: int
    hash: int


class Standing(Enum):
    """Where a fingerprint's revision is in the archive."""

    ARCHIVED = "archived"
    AHEAD = "ahead"
    """The archive has yet to reach it."""
    LEFT = "left"
    """It is on a branch that the store has left since."""


def standing(history: History, archived_revision: int, fingerprint: Fingerprint) -> Standing:
    """Returns where the fingerprint is, seen from the archive's line and the last revision that is archived."""
    revision = fingerprint.revision
    if epoch_of(fingerprint.history) > epoch_of(history):
        return Standing.AHEAD
    line = Chain.of(history, max(archived_revision, revision))
    if fork_revision(line, Chain.of(fingerprint.history, revision)) != revision:
        return Standing.LEFT
    return Standing.ARCHIVED if archived_revision >= revision else Standing.AHEAD


@dataclass(frozen=True)
class Restored:
    """The keys that the archive has at a revision."""

    revision: int
    keys: int
    hash: int
    passed_over: tuple[str, ...] = ()
    """Objects that are damaged and were not needed."""


def judged(restored: Restored, fingerprint: Fingerprint | None, silence: str) -> tuple[DrillResult, str]:
    """Returns the result of a drill and what it says. ``silence`` is why there is no fingerprint."""
    keys = f"{restored.keys} keys" if restored.keys != 1 else "1 key"
    over = ""
    if restored.passed_over:
        more = len(restored.passed_over) - MAX_NAMED
        over = f"; passed over, since they are damaged: {', '.join(restored.passed_over[:MAX_NAMED])}"
        over += f" and {more} more" if more > 0 else ""
    if fingerprint is None:
        text = f"{keys} at revision {restored.revision}; they were compared with no region: {silence}"
        return DrillResult.SUCCEEDED, text + over
    if (restored.keys, restored.hash) == (fingerprint.keys, fingerprint.hash):
        return DrillResult.SUCCEEDED, f"{keys} at revision {restored.revision}, as in region {fingerprint.region}{over}"
    return DrillResult.FAILED, (
        f"at revision {restored.revision} the archive has {keys} with hash {restored.hash:08x}, and region "
        f"{fingerprint.region} has {fingerprint.keys} with hash {fingerprint.hash:08x}{over}"
    )
