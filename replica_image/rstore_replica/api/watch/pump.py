"""Drives the hub: brings it the news of the data, and gives it short turns of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from rstore_api.domain.epochs import settled
from rstore_api.errors import Compacted

from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.transfer.holds import Hold
from rstore_replica.mvcc.watch.hub import Hub, Watcher

TURN_SECONDS = 0.003
"""How long watches are served before others on the event loop have a turn."""


class Showing(Protocol):
    """Says what may be shown (``replication.showing.Showing``)."""

    wanted: Callable[[], bool]
    """Whether anybody watches here."""
    on_change: Callable[[], None]
    """To be called when the answer of :meth:`revision` may be another."""

    def revision(self) -> int | None:
        """Returns the newest revision that may be shown here; None while that is not known."""

    def look(self) -> None:
        """``wanted`` may have changed."""


class Pump:
    """Serves all watches of a replica for as long as :meth:`run` runs."""

    def __init__(self, machine: Machine, showing: Showing) -> None:
        self.hub = Hub(machine.changes)
        self.on_caught_up: Callable[[], None] = lambda: None
        """Called when everybody who has room has been shown everything."""
        self._machine = machine
        self._showing = showing
        self._waiting = 0
        self._followers: list[Callable[[], None]] = []
        self._known = asyncio.Event()
        self._news = asyncio.Event()
        self._hold: Hold | None = None
        self._held_data = -1
        showing.wanted = lambda: self.hub.watching or self._waiting > 0 or bool(self._followers)
        showing.on_change = self.look

    async def known(self) -> None:
        """Returns once it is known what may be shown."""
        if not self._known.is_set():
            self._waiting += 1
            try:
                self._showing.look()
                await self._known.wait()
            finally:
                self._waiting -= 1

    @property
    def shown(self) -> int:
        """The newest revision that may be shown here; 0 while that is not known."""
        return min(self.hub.shown, self._machine.revision)

    @contextmanager
    def followed(self, on_look: Callable[[], None]) -> Iterator[None]:
        """While it is used, :attr:`shown` goes up as if somebody watched; calls back when it may have changed."""
        self._followers.append(on_look)
        self._showing.look()
        try:
            yield
        finally:
            self._followers.remove(on_look)

    def begin(self, watcher: Watcher, start_revision: int) -> None:
        """Begins a watch at a revision, 0: with what is shown next. It ends at once where that revision is gone."""
        oldest, history = self._machine.whole_from, self._machine.state.history
        if start_revision and start_revision < oldest and start_revision - 1 < settled(history, oldest - 1):
            watcher.sink.cancelled(watcher, oldest)
        else:
            self.hub.add(watcher, start_revision or self.hub.shown + 1)
            self._showing.look()
            self.wake()

    def look(self) -> None:
        """Takes in what the data are now, and what may be shown of them."""
        machine = self._machine
        self.hub.refresh(machine.state.history, machine.revision, machine.data_id)
        shown = self._showing.revision()
        if shown is not None:
            self.hub.advance(shown)
            self._known.set()
        if self.hub.watching:
            self.wake()
        for follower in self._followers:
            follower()

    def wake(self) -> None:
        """There may be something to do."""
        self._news.set()

    async def run(self) -> None:
        """Shows what is new, for ever."""
        unsubscribe = (
            self._machine.subscribe(lambda _revision: self.look()),
            self._machine.subscribe_state(lambda _state: self.look()),
        )
        try:
            self.look()
            while True:
                await self._news.wait()
                self._news.clear()
                await self._work()
                self.on_caught_up()
        finally:
            for stop in unsubscribe:
                stop()
            self._release()

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        ends = clock() + TURN_SECONDS
        for _ in self.hub.work():
            if clock() >= ends:
                self._keep_rows()
                await asyncio.sleep(0)
                ends = clock() + TURN_SECONDS
        self._keep_rows()

    def _keep_rows(self) -> None:
        """Compaction must not overtake watchers that are behind by no more than what has just been written."""
        needed = self.hub.needed_revision
        if self._hold is not None and (needed is None or self._held_data != self._machine.data_id):
            self._release()
        if needed is None:
            return
        if self._hold is not None and self._hold.revision < needed:
            self._hold.move(needed - 1)
        elif self._hold is None or self._hold.revision >= needed:
            self._release()
            with suppress(Compacted):  # then so is what they need, which they are about to learn
                self._hold = self._machine.hold(needed - 1)
                self._held_data = self._machine.data_id

    def _release(self) -> None:
        if self._hold is not None:
            self._hold.release()
            self._hold = None
