"""Linearizable reads without a log entry (ReadIndex; Ongaro's thesis, 6.4): one question to the peers for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rstore_api import errors

from .core import RaftCore


class Barrier:
    """Callers that wait for a read point. Those who come while a question is under way share the next one."""

    def __init__(self, core: RaftCore, wake: Callable[[], None]) -> None:
        self._core = core
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

    def advance(self) -> None:
        """Goes on with what the core has learnt since; :meth:`.core.RaftCore.tick` sends a question begun here."""
        core = self._core
        if not core.is_leader:
            return
        if self._asking and core.log.round_confirmed(self._round):
            self._confirmed.append((self._read_index, self._asking))
            self._asking = []
        if not self._asking and self._arrived and core.committed_in_term:
            self._asking, self._arrived = [future for future in self._arrived if not future.done()], []
            if self._asking:
                self._read_index = core.engine.commit_index
                self._round = core.log.begin_round()
                if core.log.round_confirmed(self._round):
                    self._wake()
        while self._confirmed and self._confirmed[0][0] <= core.engine.last_applied:
            for future in self._confirmed.pop(0)[1]:
                if not future.done():
                    future.set_result(None)

    def fail(self, error: errors.StoreError) -> None:
        """Ends all waiting with ``error``."""
        waiting = [*self._arrived, *self._asking, *(future for _, futures in self._confirmed for future in futures)]
        self._arrived, self._asking, self._confirmed = [], [], []
        for future in waiting:
            if not future.done():
                future.set_exception(error)
