"""Long reads, in threads: few at a time, and taking turns at each step, so that a short one never waits for a long one.

Two threads run: with more of them the event loop waits longer for the interpreter's lock. Further ones that have begun
wait at a step for their turn, which goes from client to client.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rstore_replica.api.turns import Turns

RUNNING = 2
OPEN = 8
"""Scans that have begun. Each keeps a state of the data, and what it has read."""
OPEN_PER_CLIENT = 3
MAX_WAITING = 1024

Pace = Callable[[], None]
T = TypeVar("T")


class ScanAbandonedError(Exception):
    """Nobody waits for the scan any more."""


class _Turnstile:
    """Lets :data:`RUNNING` threads go on at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()

    def enter(self, client: str) -> None:
        with self._lock:
            if self._running < RUNNING:
                self._running += 1
                return
            event = self._queue(client)
        event.wait()

    def pass_on(self, client: str) -> None:
        """Lets the next go on, and waits for the next turn."""
        if not self._waiting:  # a look without the lock: one that has just come is seen at the next step
            return
        with self._lock:
            if not self._waiting:
                return
            event = self._queue(client)
            self._wake_next()
        event.wait()

    def leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._wake_next()
            else:
                self._running -= 1

    def _queue(self, client: str) -> threading.Event:
        event = threading.Event()
        self._waiting.setdefault(client, deque()).append(event)
        return event

    def _wake_next(self) -> None:
        """Hands a place to the client whose last turn is longest ago."""
        client, events = next(iter(self._waiting.items()))
        event = events.popleft()
        self._waiting.move_to_end(client)
        if not events:
            del self._waiting[client]
        event.set()


class Scans:
    """Runs scans; to be closed."""

    def __init__(self) -> None:
        self._turns = Turns(places=OPEN, places_per_client=OPEN_PER_CLIENT, max_waiting=MAX_WAITING)
        self._turnstile = _Turnstile()
        self._threads = ThreadPoolExecutor(OPEN, thread_name_prefix="scan")

    async def run(self, client: str, scan: Callable[[Pace], T]) -> T:
        """Returns what ``scan`` returns, which runs in a thread and calls its argument before each step.

        The first call is made with a reader open: what waits for a reader must not have a place that one with a reader
        waits for. Raises TooManyRequests. A scan whose caller is cancelled ends at its next step.
        """
        await self._turns.take(client)
        abandoned = threading.Event()
        try:
            job = asyncio.get_running_loop().run_in_executor(self._threads, self._scan, client, scan, abandoned)
        except BaseException:
            self._turns.give_back(client)
            raise
        job.add_done_callback(lambda done: self._ended(client, done))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            abandoned.set()
            raise

    def close(self) -> None:
        """Ends the threads, once what they read has been read."""
        self._threads.shutdown()

    def _ended(self, client: str, job: asyncio.Future[T]) -> None:
        self._turns.give_back(client)
        if not job.cancelled():
            job.exception()  # whoever waits has it; nobody may be left

    def _scan(self, client: str, scan: Callable[[Pace], T], abandoned: threading.Event) -> T:
        entered = False

        def pace() -> None:
            nonlocal entered
            if abandoned.is_set():
                raise ScanAbandonedError
            if entered:
                self._turnstile.pass_on(client)
            else:
                self._turnstile.enter(client)
                entered = True

        try:
            return scan(pace)
        finally:
            if entered:
                self._turnstile.leave()
