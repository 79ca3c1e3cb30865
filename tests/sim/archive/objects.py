"""An object store that takes time, fails, and loses requests and answers. What it was sent may arrive after the sender
has died.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from rstore_backup.errors import ArchiveError, StoreUnavailable
from rstore_backup.objects import ObjectInfo
from sim.regions.wires import WORLD
from sim.trace import Trace
from unit.backup.memory_store import MemoryStore

SLOW = 0.03
"""Of the requests; they take SLOW_SECONDS."""
SECONDS, SLOW_SECONDS = (0.001, 0.03), (0.5, 4.0)

T = TypeVar("T")


class SimObjects:
    """See :class:`rstore_backup.objects.ObjectStore`."""

    def __init__(self, rng: random.Random, trace: Trace, *, loss: float) -> None:
        """``loss``: how many of the requests, or of their answers, are lost."""
        self.kept = MemoryStore()
        self.ever: dict[str, bytes] = {}
        """What was written at any time, also if it was removed since."""
        self.loss = loss
        self.lost = 0
        self._rng = rng
        self._trace = trace

    @property
    def failing(self) -> ArchiveError | None:
        """What every request is answered with, while this is set."""
        return self.kept.failing

    @failing.setter
    def failing(self, error: ArchiveError | None) -> None:
        self.kept.failing = error

    def as_they_are(self) -> MemoryStore:
        """Returns a copy, which does not change and does not fail."""
        return MemoryStore(self.kept.objects)

    async def create(self, name: str, data: bytes) -> None:
        def take() -> None:
            at_once(self.kept.create(name, data))
            self._trace.add(f"object {name}: {len(data)} bytes")
            self.ever[name] = data

        await self._request(name, take)

    async def get(self, name: str) -> bytes:
        return await self._request(name, lambda: at_once(self.kept.get(name)))

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        return await self._request(name, lambda: at_once(self.kept.get_range(name, start, length)))

    async def size_bytes(self, name: str) -> int:
        return await self._request(name, lambda: at_once(self.kept.size_bytes(name)))

    async def list_after(self, folder: str, after: str = "") -> list[ObjectInfo]:
        return await self._request(folder, lambda: at_once(self.kept.list_after(folder, after)))

    async def folders(self, folder: str) -> list[str]:
        return await self._request(folder, lambda: at_once(self.kept.folders(folder)))

    async def delete(self, name: str) -> None:
        await self._request(name, lambda: at_once(self.kept.delete(name)))

    async def _request(self, name: str, work: Callable[[], T]) -> T:
        rng = self._rng
        lost = rng.random() < self.loss
        arrives = not lost or rng.random() < 0.5
        there = rng.uniform(*(SLOW_SECONDS if rng.random() < SLOW else SECONDS))
        outcome: list[T | ArchiveError] = []

        def arrive() -> None:
            try:
                outcome.append(work())
            except ArchiveError as error:
                outcome.append(error)

        if arrives:
            asyncio.get_running_loop().call_later(there, arrive, context=WORLD)
        await asyncio.sleep(there + rng.uniform(*SECONDS))
        if lost:
            self.lost += 1
            raise StoreUnavailable(f"no answer about {name}")
        (answer,) = outcome
        if isinstance(answer, ArchiveError):
            raise answer
        return answer


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Returns the result of what does not wait for anything."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits")
