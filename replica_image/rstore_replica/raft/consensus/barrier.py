"""Linearizable reads without a log entry (ReadIndex; Ongaro's thesis, 6.4): one question to the peers for all."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator

from rstore_api import errors

from rstore_replica.raft.clock import Clock, Timer
from rstore_replica.raft.consensus.core import RaftCore

GATHER_FACTOR = 3
GATHER_MAX_SECONDS = 0.01
"""From one question to the next it takes :data:`GATHER_FACTOR` times as long as the last answer took, at most this: so
under load many readers share a question. A reader that comes when none has been asked for a while never waits."""

EXPIRY_SECONDS = 0.05
"""At least, between two looks for readers whose time is over."""

_Reader = tuple[float, asyncio.Future[None]]
"""Clock reading at which it waits no longer, and what it waits for."""


class Barrier:
    """Callers that wait for a read point. Callers that come while a question is under way share the next one.

    One timer watches the time of all: one for each would cost as much as the rest of a read's part in this.
    """

    def __init__(self, core: RaftCore, wake: Callable[[], None], clock: Clock) -> None:
        """``wake`` has :meth:`advance` called soon."""
        self._core = core
        self._clock = clock
        self._asked_at = 0.0
        self._next_question = 0.0
        self._waking = False
        self._wake = wake
        self._arrived: list[_Reader] = []
        self._asking: list[_Reader] = []
        self._round = 0
        self._read_index = 0
        self._confirmed: list[tuple[int, list[_Reader]]] = []
        self._timer: Timer | None = None
        self._expires_at = math.inf
        self._expired_at = -math.inf

    def add(self, timeout_seconds: float) -> asyncio.Future[None]:
        """Returns a future that is done once a read here sees all that was committed before now.

        Its exception is DeadlineExceeded soon after ``timeout_seconds``, or what :meth:`fail` is called with.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        deadline = self._clock.monotonic() + timeout_seconds
        self._arrived.append((deadline, future))
        if deadline < self._expires_at:
            self._watch(deadline)
        return future

    def advance(self) -> bool:
        """Completes and begins questions, as far as the core's state allows.

        Returns whether a question was begun: :meth:`.core.RaftCore.tick` sends it.
        """
        core = self._core
        if not core.is_leader:
            return False
        began = False
        if self._asking and core.round_confirmed(self._round):
            self._confirmed.append((self._read_index, self._asking))
            took = self._clock.monotonic() - self._asked_at
            self._next_question = self._asked_at + min(GATHER_FACTOR * took, GATHER_MAX_SECONDS)
            self._asking = []
        if not self._asking and self._arrived and core.committed_in_term and self._may_ask():
            self._asking, self._arrived = [reader for reader in self._arrived if not reader[1].done()], []
            if self._asking:
                self._read_index = core.commit_index
                self._round = core.begin_round()
                began = True
                if core.round_confirmed(self._round):
                    self._wake()
        while self._confirmed and self._confirmed[0][0] <= core.last_applied:
            for _, future in self._confirmed.pop(0)[1]:
                if not future.done():
                    future.set_result(None)
        return began

    def _may_ask(self) -> bool:
        """Whether the last question is old enough; if not, there will be a call when it is."""
        now = self._clock.monotonic()
        if now >= self._next_question:
            self._asked_at = now
            return True
        if not self._waking:
            self._waking = True
            self._clock.call_later(self._next_question - now, self._wake_up)
        return False

    def _wake_up(self) -> None:
        self._waking = False
        self._wake()

    def fail(self, error: errors.StoreError) -> None:
        """Ends all waiting with ``error``."""
        waiting = list(self._waiting())
        self._arrived, self._asking, self._confirmed = [], [], []
        if self._timer is not None:
            self._timer.cancel()
        self._expires_at = math.inf
        for _, future in waiting:
            future.set_exception(error)

    def _waiting(self) -> Iterator[_Reader]:
        for readers in (self._arrived, self._asking, *(confirmed for _, confirmed in self._confirmed)):
            yield from (reader for reader in readers if not reader[1].done())

    def _watch(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._expires_at = max(deadline, self._expired_at + EXPIRY_SECONDS)
        self._timer = self._clock.call_later(self._expires_at - self._clock.monotonic(), self._expire)

    def _expire(self) -> None:
        self._expired_at = now = self._clock.monotonic()
        self._timer, self._expires_at = None, math.inf
        for deadline, future in self._waiting():
            if deadline <= now:
                future.set_exception(errors.DeadlineExceeded("no majority of the region's replicas answered"))
        earliest = min((deadline for deadline, _ in self._waiting()), default=math.inf)
        if earliest < math.inf:
            self._watch(earliest)
