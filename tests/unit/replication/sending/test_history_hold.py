"""How long compaction waits for a region, with a clock moved by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_api.errors import Compacted
from rstore_replica.raft.clock import SystemClock
from rstore_replica.replication.sending.history_hold import HistoryHold
from unit.mvcc.replicas import Replica

IDLE, TOTAL = 60.0, 600.0


class Clock(SystemClock):
    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(tmp_path: Path) -> Replica:
    """At revision 101, one key written again and again."""
    replica = Replica(tmp_path / "us")
    for number in range(100):
        replica.put(b"key", b"%d" % number)
    return replica


@pytest.fixture
def hold(source: Replica, clock: Clock) -> HistoryHold:
    return HistoryHold("eu", machine=source.machine, clock=clock, idle_seconds=IDLE, total_seconds=TOTAL)


def sweep(source: Replica) -> int:
    """Removes what may be removed; the revision up to which that was."""
    while source.machine.compact_step():
        pass
    return source.machine._position.swept_revision


def test_what_is_held_stays_and_what_is_reached_goes(source: Replica, hold: HistoryHold) -> None:
    assert hold.take(20)
    source.compact(100)
    assert sweep(source) == 20
    assert source.machine.rows_after(20, max_bytes=1000, max_rows=5).first_revision == 21
    hold.reached(60)
    assert sweep(source) == 60
    hold.reached(101)
    assert sweep(source) == 100
    assert not hold.take(50)
    assert hold.take(101)
    hold.release()
    hold.release()


def test_a_region_that_gets_no_further_is_waited_for_a_minute(source: Replica, hold: HistoryHold, clock: Clock) -> None:
    hold.take(20)
    clock.seconds += 10 * IDLE
    hold.review()
    source.compact(100)
    assert sweep(source) == 20, "while compaction did not wait, no time ran"
    hold.review()
    clock.seconds += IDLE - 1
    hold.progressed()
    hold.review()
    clock.seconds += IDLE - 1
    hold.review()
    assert sweep(source) == 20
    clock.seconds += 1
    hold.review()
    assert sweep(source) == 100
    with pytest.raises(Compacted):
        source.machine.rows_after(20, max_bytes=1000, max_rows=5)


def test_a_region_that_gets_on_is_not_waited_for_without_end(source: Replica, hold: HistoryHold, clock: Clock) -> None:
    hold.take(20)
    source.compact(100)
    hold.progressed()
    hold.review()
    for _ in range(int(TOTAL / 50)):
        assert sweep(source) == 20
        clock.seconds += 50
        hold.progressed()
        hold.review()
    assert sweep(source) == 100
    hold.reached(30)
    assert not hold.take(30)


def test_nobody_is_waited_for_when_the_store_is_nearly_full(
    source: Replica, hold: HistoryHold, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold.take(20)
    source.compact(100)
    hold.review()
    assert sweep(source) == 20
    assert not source.machine.is_nearly_full
    monkeypatch.setattr(source.machine, "_quota_bytes", source.machine.db_in_use_bytes)
    assert source.machine.is_nearly_full
    hold.review()
    assert sweep(source) == 100


def test_a_region_that_caught_up_may_take_as_long_again(source: Replica, hold: HistoryHold, clock: Clock) -> None:
    for revision in (20, 30):
        hold.take(revision)
        source.compact(revision + 5)
        hold.review()
        clock.seconds += IDLE - 1
        hold.review()
        assert sweep(source) == revision
        hold.reached(revision + 5)
        hold.review()
        assert sweep(source) == revision + 5
