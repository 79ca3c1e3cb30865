"""Under load many readers share one question to the peers; a reader who is alone never waits for others."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from rstore_api.errors import DeadlineExceeded, NoLeader
from rstore_replica.raft.consensus.barrier import EXPIRY_SECONDS, GATHER_FACTOR, GATHER_MAX_SECONDS, Barrier

LONG_SECONDS = 60.0


class Peers:
    """Counts questions, and answers them when told to; also the clock."""

    def __init__(self) -> None:
        self.asked = self.answered = 0
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.is_leader = self.committed_in_term = True
        self.commit_index = self.last_applied = 5

    def begin_round(self) -> int:
        self.asked += 1
        return self.asked

    def round_confirmed(self, number: int) -> bool:
        return self.answered >= number

    def monotonic(self) -> float:
        return self.now

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Any:
        timer = (self.now + delay_seconds, callback)
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: self.timers.remove(timer) if timer in self.timers else None)

    @property
    def soon(self) -> list[tuple[float, Callable[[], None]]]:
        """The timers that do not watch the time of readers."""
        return [timer for timer in self.timers if timer[0] - self.now < 1.0]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for when, callback in self.timers if when <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for callback in due:
            callback()


def _make() -> tuple[Peers, Barrier]:
    peers = Peers()
    woken: list[Barrier] = []
    barrier = Barrier(peers, lambda: woken[0].advance(), peers)  # type: ignore[arg-type]  # noqa: PLW0108 (made below)
    woken.append(barrier)
    return peers, barrier


async def test_readers_soon_after_an_answer_share_the_next_question() -> None:
    peers, barrier = _make()
    first = barrier.add(LONG_SECONDS)
    barrier.advance()
    assert peers.asked == 1
    peers.pass_time(0.001)
    peers.answered = 1
    barrier.advance()
    assert first.done()
    later = []
    for _ in range(5):
        later.append(barrier.add(LONG_SECONDS))
        barrier.advance()
    assert peers.asked == 1
    assert len(peers.soon) == 1
    peers.pass_time(0.001 * GATHER_FACTOR)
    assert peers.asked == 2
    peers.answered = 2
    barrier.advance()
    assert all(reader.done() for reader in later)


async def test_a_reader_that_comes_later_is_asked_for_at_once() -> None:
    peers, barrier = _make()
    barrier.add(LONG_SECONDS)
    barrier.advance()
    peers.pass_time(5.0)
    peers.answered = 1
    barrier.advance()
    peers.pass_time(0.001)
    reader = barrier.add(LONG_SECONDS)
    barrier.advance()
    assert peers.asked == 2
    assert not reader.done()
    assert not peers.soon


async def test_the_wait_is_bounded_however_slow_the_peers_are() -> None:
    peers, barrier = _make()
    for number in (1, 2):
        barrier.add(LONG_SECONDS)
        barrier.advance()
        assert peers.asked == number
        peers.pass_time(1.0)
        peers.answered = number
        barrier.advance()
        peers.pass_time(GATHER_MAX_SECONDS)


async def test_each_reader_waits_for_as_long_as_it_may_and_one_timer_watches_all() -> None:
    peers, barrier = _make()
    long, short, cancelled = barrier.add(5.0), barrier.add(1.0), barrier.add(0.5)
    barrier.advance()
    late = barrier.add(2.0)  # waits for the next question
    cancelled.cancel()
    assert len(peers.timers) == 1
    peers.pass_time(0.9)
    assert not short.done()
    peers.pass_time(0.1 + EXPIRY_SECONDS)
    assert isinstance(short.exception(), DeadlineExceeded)
    assert not late.done()
    peers.pass_time(1.0)
    assert isinstance(late.exception(), DeadlineExceeded)
    assert not long.done()
    peers.answered = 1
    barrier.advance()
    assert long.result() is None
    peers.pass_time(5.0)
    assert not peers.timers, "nobody waits"


async def test_readers_with_little_time_do_not_have_it_watched_one_by_one() -> None:
    peers, barrier = _make()
    barrier.add(0.001)
    peers.pass_time(0.001)
    for _ in range(10):
        barrier.add(0.001)
    looks = 0
    until = peers.now + EXPIRY_SECONDS
    while peers.timers and peers.now < until:
        peers.pass_time(0.001)
        looks += barrier._expired_at == peers.now
    assert looks <= 1


async def test_what_fails_all_readers_ends_the_timer() -> None:
    peers, barrier = _make()
    readers = [barrier.add(1.0), barrier.add(2.0)]
    barrier.advance()
    readers.append(barrier.add(3.0))
    barrier.fail(NoLeader())
    assert all(isinstance(reader.exception(), NoLeader) for reader in readers)
    assert not peers.timers
