"""Connections to replicas that are being opened, of all stores of the process: a few at a time, in turns.

Opening one takes milliseconds of CPU time, and one to an address at which nobody is any more takes memory for seconds.
When a region is lost with hundreds of stores in it, all of them dial at the same moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rstore_api.errors import Unreachable

MAX_FRESH = 32
"""Dials that have just begun: together some 0.1 s of CPU time."""
FRESH_SECONDS = 0.1
"""A dial that takes longer waits for the network, and makes room for another one."""
MAX_SLOW = 256
"""Dials that wait for the network. Beyond it one is given up, of the store that has most of them."""
OTHERS_EVERY = 4
"""Of so many places that become free while hurried stores wait, one is for a store that is not hurried."""


@dataclass(eq=False)
class _Dial:
    store: Hashable
    fresh: bool = True
    limit: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))


class Dials:
    """The dials of one process that are under way, and those that wait for a place. Stores take turns; those that are
    hurried, since a change of their primary is under way or may be near, come first."""

    def __init__(self, fresh: int = MAX_FRESH, slow: int = MAX_SLOW, *, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._places = fresh
        self._max_slow = slow
        self._fresh_seconds = fresh_seconds
        self._slow: OrderedDict[_Dial, None] = OrderedDict()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self._hurried: set[Hashable] = set()
        self._given = 0

    def hurry(self, store: Hashable, *, hurried: bool) -> None:
        """Whether the store's dials come before others, from now on."""
        if hurried:
            self._hurried.add(store)
        else:
            self._hurried.discard(store)

    @asynccontextmanager
    async def turn(self, store: Hashable) -> AsyncIterator[None]:
        """Waits until a dial of the store may begin, and counts it while the block runs. Raises Unreachable when it
        was given up for others."""
        await self._wait_for_place(store)
        dial = _Dial(store)
        timer = asyncio.get_running_loop().call_later(self._fresh_seconds, self._becomes_slow, dial)
        try:
            async with dial.limit:
                yield
        except TimeoutError as error:
            if not dial.limit.expired():
                raise
            raise Unreachable("given up, since too many connections are being opened") from error
        finally:
            timer.cancel()
            self._slow.pop(dial, None)
            if dial.fresh:
                self._leave_place()

    async def _wait_for_place(self, store: Hashable) -> None:
        if self._places:
            self._places -= 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(store, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self._leave_place()
            raise

    def _leave_place(self) -> None:
        """Hands a place on to the store whose turn it is."""
        while self._waiting:
            hurried = (self._given + 1) % OTHERS_EVERY != 0
            fits = (store for store in self._waiting if (store in self._hurried) is hurried)
            store = next(fits, next(iter(self._waiting)))
            places = self._waiting.pop(store)
            place = places.popleft()
            if places:
                self._waiting[store] = places  # behind all others
            if not place.cancelled():
                self._given += 1
                place.set_result(None)
                return
        self._places += 1

    def _becomes_slow(self, dial: _Dial) -> None:
        """It leaves its place, and one of the slow dials is given up where they are too many."""
        dial.fresh = False
        self._slow[dial] = None
        self._leave_place()
        if len(self._slow) > self._max_slow:
            of_store = Counter(one.store for one in self._slow)
            most = max(of_store.values())
            oldest = next(one for one in self._slow if of_store[one.store] == most)
            del self._slow[oldest]
            oldest.limit.reschedule(asyncio.get_running_loop().time())
