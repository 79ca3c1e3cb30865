"""Under load many readers share one question to the peers; a reader who is alone never waits for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rstore_replica.raft.consensus.barrier import GATHER_FACTOR, GATHER_MAX_SECONDS, Barrier


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
        self.timers.append((self.now + delay_seconds, callback))

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
    first = barrier.add()
    barrier.advance()
    assert peers.asked == 1
    peers.pass_time(0.001)
    peers.answered = 1
    barrier.advance()
    assert first.done()
    later = []
    for _ in range(5):
        later.append(barrier.add())
        barrier.advance()
    assert peers.asked == 1
    assert len(peers.timers) == 1
    peers.pass_time(0.001 * GATHER_FACTOR)
    assert peers.asked == 2
    peers.answered = 2
    barrier.advance()
    assert all(reader.done() for reader in later)


async def test_a_reader_that_comes_later_is_asked_for_at_once() -> None:
    peers, barrier = _make()
    barrier.add()
    barrier.advance()
    peers.pass_time(5.0)
    peers.answered = 1
    barrier.advance()
    peers.pass_time(0.001)
    reader = barrier.add()
    barrier.advance()
    assert peers.asked == 2
    assert not reader.done()
    assert not peers.timers


async def test_the_wait_is_bounded_however_slow_the_peers_are() -> None:
    peers, barrier = _make()
    for number in (1, 2):
        barrier.add()
        barrier.advance()
        assert peers.asked == number
        peers.pass_time(1.0)
        peers.answered = number
        barrier.advance()
        peers.pass_time(GATHER_MAX_SECONDS)
