"""Linearizable reads without a log entry (ReadIndex; Ongaro's thesis, 6.4): one question to the peers for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rstore_api import errors

from rstore_replica.raft.clock import Clock
from rstore_replica.raft.consensus.core import RaftCore

GATHER_FACTOR = 3
GATHER_MAX_SECONDS = 0.01
"""From one question to the next it takes :data:`GATHER_FACTOR` times as long as the last answer took, at most this: so
under load many readers share a question. A reader that comes when none has been asked for a while never waits."""


class Barrier:
    """Callers that wait for a read point. Callers that come while a question is under way share the next one."""

    def __init__(self, core: RaftCore, wake: Callable[[], None], clock: Clock) -> None:
        """``wake`` has :meth:`advance` called soon."""
        self._core = core
        self._clock = clock
        self._asked_at = 0.0
        self._next_question = 0.0
        self._waking = False
        self._wake = wake
        self._arrived: list[asyncio.Future[None]] = []
        self._asking: list[asyncio.Future[None]] = []
        self._round = 0
        self._read_index = 0
        self._confirmed: list[tuple[int, list[asyncio.Future[None]]]] = []

    def add(self) -> asyncio.Future[None]:
        """A future that is done once a read here sees all that was committed before now."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived.append(future)
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
            self._asking, self._arrived = [future for future in self._arrived if not future.done()], []
            if self._asking:
                self._read_index = core.commit_index
                self._round = core.begin_round()
                began = True
                if core.round_confirmed(self._round):
                    self._wake()
        while self._confirmed and self._confirmed[0][0] <= core.last_applied:
            for future in self._confirmed.pop(0)[1]:
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
        waiting = [*self._arrived, *self._asking, *(future for _, futures in self._confirmed for future in futures)]
        self._arrived, self._asking, self._confirmed = [], [], []
        for future in waiting:
            if not future.done():
                future.set_exception(error)
