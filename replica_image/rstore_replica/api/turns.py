"""Fair shares of what is scarce: callers take turns client by client, however much one of them asks for."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rstore_api.errors import TooManyRequests


class Turns:
    """At most ``places`` callers at a time, ``places_per_client`` of one client; the others wait.

    A place that gets free goes to the client whose last turn is longest ago. Where too many wait, the newest request of
    the client with most of them is refused.
    """

    def __init__(self, *, places: int, places_per_client: int, max_waiting: int) -> None:
        self._free = places
        self._places_per_client = places_per_client
        self._max_waiting = max_waiting
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._count = 0

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Inside, the caller has a place. Raises TooManyRequests."""
        await self.take(client)
        try:
            yield
        finally:
            self.give_back(client)

    async def take(self, client: str) -> None:
        """Waits for a place, which :meth:`give_back` ends. Raises TooManyRequests."""
        if self._free and not self._count and self._taken[client] < self._places_per_client:
            self._begin(client)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(waiter)
        self._count += 1
        if self._count > self._max_waiting:
            self._refuse_one()
        self._hand_out()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_back(client)  # the place came at the same moment
            else:
                self._forget(client, waiter)
            raise

    def give_back(self, client: str) -> None:
        """Ends a turn."""
        self._free += 1
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]
        self._hand_out()

    def _begin(self, client: str) -> None:
        self._free -= 1
        self._taken[client] += 1

    def _hand_out(self) -> None:
        for client in list(self._waiting):
            if not self._free:
                return
            queue = self._waiting[client]
            if self._taken[client] >= self._places_per_client:
                continue
            waiter = queue.popleft()
            self._count -= 1
            self._waiting.move_to_end(client)
            if not queue:
                del self._waiting[client]
            if not waiter.done():  # else its caller has just been cancelled
                self._begin(client)
                waiter.set_result(None)

    def _refuse_one(self) -> None:
        client = max(self._waiting, key=lambda name: len(self._waiting[name]))
        waiter = self._waiting[client][-1]
        self._forget(client, waiter)
        waiter.set_exception(TooManyRequests(f"{self._max_waiting} requests of this kind wait"))

    def _forget(self, client: str, waiter: asyncio.Future[None]) -> None:
        queue = self._waiting.get(client)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            self._count -= 1
            if not queue:
                del self._waiting[client]
