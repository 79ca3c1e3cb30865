"""Calls to regions that a step does not wait for to their end: a region that hangs holds up no other region.

While one does not answer, the next step may have to grant the primary its tenure, or to give up a switchover.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

from rstore_operator.facts.actions import RegionCall

T = TypeVar("T")

MAX_OF_A_KIND = 4
"""Calls of one kind to one region that may be under way; each has a deadline, so a later step starts those left out."""


class CallsUnderWay(Generic[T]):
    """The calls of one store. Each is idempotent; an equal one is not started while it is under way."""

    def __init__(self, carry_out: Callable[[RegionCall], Coroutine[Any, Any, T]]) -> None:
        """``carry_out`` makes one call, and raises nothing that is no bug."""
        self._carry_out = carry_out
        self._tasks: dict[RegionCall, asyncio.Task[T]] = {}

    @property
    def active(self) -> bool:
        """Whether some call is under way."""
        return bool(self._tasks)

    def includes(self, kind: type, region: str) -> bool:
        """Whether a call of that kind to that region is under way."""
        return any(type(call) is kind and call.region == region for call in self._tasks)

    async def run(self, calls: Iterable[RegionCall], *, patience_seconds: float) -> list[T]:
        """Start ``calls``, wait for them for ``patience_seconds`` at most, and return the results that have come, also
        of calls that were started before."""
        calls = list(calls)
        counts = Counter((type(call), call.region) for call in self._tasks)
        for call in calls:
            kind = (type(call), call.region)
            if call not in self._tasks and counts[kind] < MAX_OF_A_KIND:
                counts[kind] += 1
                self._tasks[call] = asyncio.create_task(self._carry_out(call), name=f"{kind[0].__name__} {kind[1]}")
        awaited = [self._tasks[call] for call in calls if call in self._tasks]
        if awaited:
            await asyncio.wait(awaited, timeout=patience_seconds)
        ended = {call: task for call, task in self._tasks.items() if task.done()}
        self._tasks = {call: task for call, task in self._tasks.items() if call not in ended}
        return [task.result() for task in ended.values()]

    async def close(self) -> None:
        """Give up what is under way; it may take effect all the same."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
