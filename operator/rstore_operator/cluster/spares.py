"""Connections to replicas that are not asked for a while: few of them stay open, of all stores together.

A store at rest is looked at over one connection. Those to its other replicas would be the most that a process with
hundreds of stores keeps in memory, and opening one again takes a few milliseconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

MAX_SPARES = 16
"""How many connections that are not used stay open. Each takes 0.12 MiB."""

Retire = Callable[[], Awaitable[None]]


class Spares:
    """The connections of one process that are open and not used, by the store that they belong to."""

    def __init__(self, limit: int = MAX_SPARES) -> None:
        self._limit = limit
        self._spares: OrderedDict[tuple[Hashable, Hashable], Retire] = OrderedDict()

    async def put(self, store: Hashable, target: Hashable, retire: Retire) -> None:
        """The connection is not used for a while. It is retired once there are too many that have been put later."""
        self._spares[store, target] = retire
        self._spares.move_to_end((store, target))
        while len(self._spares) > self._limit:
            _, oldest = self._spares.popitem(last=False)
            await oldest()

    def take(self, store: Hashable, target: Hashable) -> None:
        """The connection is used again."""
        self._spares.pop((store, target), None)

    def take_all(self, store: Hashable) -> None:
        """The store closes its connections by itself."""
        for key in [key for key in self._spares if key[0] == store]:
            del self._spares[key]
