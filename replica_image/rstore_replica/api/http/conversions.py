"""Conversions between JSON and messages that take long, in a thread and one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from rstore_replica.api.http.json_mapping import Pace
from rstore_replica.api.turns import Turns

AT_ONCE_BYTES = 2 << 10
"""Up to here a conversion takes some milliseconds at most, and is done in the event loop."""
MAX_WAITING = 1_024

PAUSE_SHARE = 2
"""Pauses take so many times as long as work."""
MAX_PAUSE_SECONDS = 0.05

T = TypeVar("T")


class Conversions:
    """Clients take turns, so that the memory of one conversion is the memory of all."""

    def __init__(self) -> None:
        self._turns = Turns(places=1, places_per_client=1, max_waiting=MAX_WAITING)

    async def run(self, convert: Callable[[Pace], T], size: int, client: str) -> T:
        """Returns what ``convert`` returns for ``size`` bytes of a client. Raises TooManyRequests too.

        It is given what it calls between two steps. A large one has a third of a processor at most: a turn lasts three
        times as long as its work.
        """
        if size <= AT_ONCE_BYTES:
            return convert(lambda: None)
        async with self._turns.turn(client):
            pauses = Pauses()

            def work() -> tuple[T, float]:
                result = convert(pauses)
                return result, pauses.owed_seconds

            result, owed_seconds = await asyncio.to_thread(work)
            await asyncio.sleep(owed_seconds)
            return result


class Pauses:
    """Gives the processor to others for twice as long as the work since the last call took. For one thread."""

    def __init__(self) -> None:
        self._worked_since: float | None = None
        """In processor time of the thread."""

    @property
    def owed_seconds(self) -> float:
        """How long the next pause is to be."""
        if self._worked_since is None:
            return 0.0
        return min(PAUSE_SHARE * (time.thread_time() - self._worked_since), MAX_PAUSE_SECONDS)

    def __call__(self) -> None:
        """Pauses."""
        time.sleep(self.owed_seconds)
        self._worked_since = time.thread_time()
