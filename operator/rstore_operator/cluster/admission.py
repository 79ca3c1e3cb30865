"""Stores that are looked at as a whole: few of them at a time, of all stores of the process.

A look holds a store's objects, unpacked, while it waits for its replicas. If hundreds of stores began one at once, as
when an operator takes over, these objects would take more memory than all else; and replicas would count as silent
whose answers have come and wait for the process, which is busy with other stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MAX_LOOKS = 8
"""Some 20 ms of CPU time each: together less than replicas have to answer."""
MAX_SECONDS = 0.5
"""A look that takes longer waits for something that hangs, and no longer counts."""


class Admission:
    """The looks that are under way."""

    def __init__(self, limit: int = MAX_LOOKS, counts_seconds: float = MAX_SECONDS) -> None:
        self._places = asyncio.Semaphore(limit)
        self._counts_seconds = counts_seconds

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Waits until a look may begin, and counts it while the block runs."""
        await self._places.acquire()
        counts = True

        def leave() -> None:
            nonlocal counts
            if counts:
                counts = False
                self._places.release()

        timer = asyncio.get_running_loop().call_later(self._counts_seconds, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()
