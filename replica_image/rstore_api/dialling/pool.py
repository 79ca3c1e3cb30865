"""Connections by key, shared by those that use them at the same time, at most so many in all."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rstore_api.errors import TooManyRequests


class Closable(Protocol):
    """What a pool keeps."""

    async def close(self) -> None:
        """Closes it now; calls in flight fail."""


KeyT = TypeVar("KeyT", bound=Hashable)
ConnectionT = TypeVar("ConnectionT", bound=Closable)


@dataclass
class _Slot(Generic[ConnectionT]):
    connection: ConnectionT
    users: int = 0
    retired: bool = False


class Pool(Generic[KeyT, ConnectionT]):
    """At most ``limit`` connections. The one that nobody has used for longest makes room for a new one."""

    def __init__(self, make: Callable[[KeyT], ConnectionT], *, limit: int) -> None:
        self._make = make
        self._limit = limit
        self._slots: OrderedDict[KeyT, _Slot[ConnectionT]] = OrderedDict()

    @asynccontextmanager
    async def use(self, key: KeyT) -> AsyncIterator[ConnectionT]:
        """The connection to ``key``, made if there is none.

        Raises TooManyRequests when all are in use, and what ``make`` raises.
        """
        slot = self._slots.get(key)
        unused = None if slot is not None or len(self._slots) < self._limit else self._take_unused()
        if slot is None:
            slot = self._slots[key] = _Slot(self._make(key))
        self._slots.move_to_end(key)
        slot.users += 1
        try:
            if unused is not None:
                await unused.close()
            yield slot.connection
        finally:
            slot.users -= 1
            if slot.retired and not slot.users:
                await slot.connection.close()

    def _take_unused(self) -> ConnectionT:
        for key, slot in self._slots.items():
            if not slot.users:
                del self._slots[key]
                return slot.connection
        raise TooManyRequests(f"{self._limit} connections are in use")

    async def retire(self, which: Callable[[KeyT], bool]) -> None:
        """Closes connections, each once its last user is done. Later users get new ones."""
        slots = self._take(which)
        for slot in slots:
            slot.retired = True
        await asyncio.gather(*(slot.connection.close() for slot in slots if not slot.users))

    async def close(self, which: Callable[[KeyT], bool] = lambda _key: True) -> None:
        """Closes connections now; calls in flight fail. Later users get new ones."""
        await asyncio.gather(*(slot.connection.close() for slot in self._take(which)))

    def _take(self, which: Callable[[KeyT], bool]) -> list[_Slot[ConnectionT]]:
        return [self._slots.pop(key) for key in list(self._slots) if which(key)]
