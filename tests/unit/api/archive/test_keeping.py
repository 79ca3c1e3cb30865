"""Rows that an archiver may not have written yet stay, also for a while after it has gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rstore_api.errors import Compacted
from rstore_replica.api.archive.keeping import REVIEW_SECONDS, TRAIL_SECONDS, Lingering, Trail
from rstore_replica.raft.clock import SystemClock
from rstore_replica.replication.sending.history_hold import HistoryHold
from unit.mvcc.replicas import Replica

IDLE_SECONDS = 300.0


class Timer:
    """A call that is due at a time, unless it was cancelled."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback

    def cancel(self) -> None:
        self.callback = lambda: None


class FakeClock(SystemClock):
    """Its time goes on when a test says so."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: list[Timer] = []

    def monotonic(self) -> float:
        return self._now

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Timer:
        self._timers.append(Timer(self._now + delay_seconds, callback))
        return self._timers[-1]

    def advance(self, seconds: float) -> None:
        ends = self._now + seconds
        while due := sorted((each for each in self._timers if each.due <= ends), key=lambda each: each.due):
            self._timers.remove(due[0])
            self._now = due[0].due
            due[0].callback()
        self._now = ends


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    for number in range(20):
        replica.put(b"key", b"%d" % number)
    yield replica
    replica.machine.close()


def hold_of(replica: Replica, clock: FakeClock, revision: int) -> HistoryHold:
    hold = HistoryHold("archive", machine=replica.machine, clock=clock, idle_seconds=IDLE_SECONDS, total_seconds=3600.0)
    assert hold.take(revision)
    return hold


def compact(replica: Replica, revision: int) -> None:
    replica.compact(revision)
    while replica.machine.compact_step():
        pass


def has(replica: Replica, revision: int) -> bool:
    """Whether the rows after a revision can still be sent."""
    try:
        replica.machine.rows_after(revision, max_bytes=1000, max_rows=10)
    except Compacted:
        return False
    return True


def test_what_was_sent_within_the_last_minute_stays(replica: Replica) -> None:
    clock = FakeClock()
    trail = Trail(hold_of(replica, clock, 5), clock)
    trail.sent(10)
    clock.advance(30.0)
    trail.sent(15)
    compact(replica, 20)
    assert has(replica, 5)
    clock.advance(TRAIL_SECONDS - 30.0)
    trail.sent(15)
    assert (has(replica, 9), has(replica, 10)) == (False, True)
    clock.advance(TRAIL_SECONDS)
    trail.sent(15)
    assert (has(replica, 14), has(replica, 15)) == (False, True)


def test_it_stays_for_a_while_after_the_archiver_has_gone(replica: Replica) -> None:
    clock = FakeClock()
    lingering = Lingering(clock)
    hold = hold_of(replica, clock, 5)
    lingering.keep(hold)
    compact(replica, 20)
    clock.advance(REVIEW_SECONDS)
    assert has(replica, 5)
    clock.advance(IDLE_SECONDS + 2 * REVIEW_SECONDS)
    assert (hold.active, has(replica, 5)) == (False, False)


def test_only_the_last_one_that_has_gone_is_waited_for(replica: Replica) -> None:
    clock = FakeClock()
    lingering = Lingering(clock)
    first, second = hold_of(replica, clock, 5), hold_of(replica, clock, 8)
    lingering.keep(first)
    lingering.keep(second)
    compact(replica, 20)
    assert (first.active, has(replica, 5), has(replica, 8)) == (False, False, True)
    lingering.release()
    assert not has(replica, 8)
