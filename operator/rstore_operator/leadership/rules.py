"""When an operator renews, takes or waits for its Lease, and when it stops acting.

The clocks of two machines are never compared, as in client-go's leader election: a candidate counts the Lease's
duration from when *it* saw the Lease change last. The holder counts from when it *sent* the renewal that succeeded,
which is earlier, and its deadline is shorter than the duration. So it has stopped before another operator begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

DURATION_SECONDS = 4
"""How long a candidate waits after the last renewal that it saw."""
DEADLINE_SECONDS = 3.0
"""How long the holder acts after it sent the last renewal that succeeded."""
RENEW_SECONDS = 1.0
RETRY_SECONDS = 0.5
"""Pause after a request that failed, and between the looks of a candidate."""


@dataclass(frozen=True)
class Record:
    """What a Lease says. ``holder`` is "" after its holder released it."""

    holder: str
    version: str
    """Its resourceVersion: a write is conditional on it."""
    renewed_at: datetime | None = None
    acquired_at: datetime | None = None
    transitions: int = 0
    duration_seconds: int = DURATION_SECONDS


@dataclass(frozen=True)
class Standing:
    """What one operator knows of a Lease. Times are seconds of its own monotonic clock."""

    identity: str
    record: Record | None = None
    """None when there is no Lease."""
    read_at: float | None = None
    """When it was read last; None: never."""
    changed_at: float = 0.0
    """When this operator first saw the Lease as it is now."""
    ever_seen: bool = False
    acts_since: float | None = None
    """When the last renewal was sent that succeeded; None: the operator does not act."""
    failed_at: float | None = None
    """When a request failed last; None: the last one succeeded."""


class Move(Enum):
    """What an operator does next about its Lease."""

    WAIT = "wait"
    READ = "read"
    CREATE = "create"
    ACQUIRE = "acquire"
    RENEW = "renew"
    STOP = "stop"


def acts(standing: Standing, seconds: float) -> bool:
    """Returns whether the operator may act at that moment."""
    return standing.acts_since is not None and seconds < standing.acts_since + DEADLINE_SECONDS


def decide(standing: Standing, seconds: float) -> tuple[Move, float]:
    """Returns the next move, and for how many seconds to wait if that is WAIT."""
    if standing.acts_since is not None:
        return _as_holder(standing, standing.acts_since, seconds)
    due = _free_at(standing)
    if standing.read_at is not None and seconds >= due and standing.failed_at is None:
        return (Move.CREATE if standing.record is None else Move.ACQUIRE), 0.0
    last = max((at for at in (standing.read_at, standing.failed_at) if at is not None), default=None)
    if last is None or seconds >= last + RETRY_SECONDS:
        return Move.READ, 0.0
    until = last + RETRY_SECONDS
    return Move.WAIT, (min(until, due) if due > seconds else until) - seconds


def _as_holder(standing: Standing, acts_since: float, seconds: float) -> tuple[Move, float]:
    taken = standing.record is not None and standing.record.holder != standing.identity
    if taken or not acts(standing, seconds):
        return Move.STOP, 0.0
    failed_at = standing.failed_at
    due = acts_since + RENEW_SECONDS if failed_at is None else failed_at + RETRY_SECONDS
    if seconds < due:
        return Move.WAIT, min(due, acts_since + DEADLINE_SECONDS) - seconds
    if standing.record is None:
        return Move.CREATE, 0.0
    return (Move.RENEW if failed_at is None or failed_at <= (standing.read_at or 0.0) else Move.READ), 0.0


def _free_at(standing: Standing) -> float:
    """Returns from when on the Lease may be taken. One that was deleted is free when its holder has stopped."""
    record = standing.record
    if record is None:
        return standing.changed_at + DURATION_SECONDS if standing.ever_seen else 0.0
    if record.holder in ("", standing.identity):
        return 0.0
    return standing.changed_at + max(1, record.duration_seconds)


def is_free(standing: Standing, seconds: float) -> bool:
    """Returns whether nobody acts under the Lease any more, as far as was read."""
    return standing.read_at is not None and seconds >= _free_at(standing)


def was_read(standing: Standing, record: Record | None, seconds: float) -> Standing:
    """Returns what is known after the Lease was read."""
    same = standing.read_at is not None and _version(record) == _version(standing.record)
    return replace(
        standing,
        record=record,
        read_at=seconds,
        changed_at=standing.changed_at if same else seconds,
        ever_seen=standing.ever_seen or record is not None,
        failed_at=standing.failed_at if standing.acts_since is not None else None,
    )


def was_written(standing: Standing, record: Record, sent_at: float) -> Standing:
    """Returns what is known after a write that was sent then succeeded."""
    return replace(
        standing,
        record=record,
        read_at=sent_at,
        changed_at=sent_at,
        ever_seen=True,
        acts_since=sent_at,
        failed_at=None,
    )


def has_failed(standing: Standing, seconds: float) -> Standing:
    """Returns what is known after a request failed; its outcome is unknown, so the Lease is read before the next."""
    return replace(standing, failed_at=seconds)


def has_stopped(standing: Standing, seconds: float) -> Standing:
    """Returns what is known after the operator has stopped acting."""
    return replace(standing, acts_since=None, failed_at=seconds)


def next_record(standing: Standing, now: datetime) -> Record:
    """Returns what the Lease says once this operator holds it at the wall time ``now``."""
    before = standing.record
    if before is not None and before.holder == standing.identity:
        return replace(before, renewed_at=now, duration_seconds=DURATION_SECONDS)
    transitions = before.transitions + 1 if before is not None else 0
    return Record(standing.identity, before.version if before else "", now, now, transitions)


def _version(record: Record | None) -> str:
    return record.version if record is not None else ""
