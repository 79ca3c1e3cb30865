"""Trying again what has failed, and ending together what belongs together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Retry = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""Does something until the object store takes it."""


class Backoff:
    """The pause before something is tried again: twice as long each time, up to a bound."""

    def __init__(self, first_seconds: float, last_seconds: float) -> None:
        self._first = first_seconds
        self._last = last_seconds
        self._next = first_seconds

    def reset(self) -> None:
        """It has worked."""
        self._next = self._first

    def seconds(self) -> float:
        """Returns the next pause."""
        pause, self._next = self._next, min(self._last, self._next * 2)
        return pause


async def until_one_ends(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Runs all at once; when one ends or fails, or this is cancelled, cancels the others and waits for their end.

    Raises the error of the one that failed. Not a TaskGroup: where a task fails while the group is cancelled, that of
    Python 3.11 raises the failure alone, and the cancellation is lost.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
