"""Conversions between JSON and messages that take long, in a thread and one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from rstore_replica.api.turns import Turns

AT_ONCE_BYTES = 16 << 10
"""Up to here a conversion takes a millisecond or two, and is done in the event loop."""
MAX_WAITING = 1_024

T = TypeVar("T")


class Conversions:
    """Clients take turns, so that the memory of one conversion is the memory of all."""

    def __init__(self) -> None:
        self._turns = Turns(places=1, places_per_client=1, max_waiting=MAX_WAITING)

    async def run(self, convert: Callable[[], T], size: int, client: str) -> T:
        """Returns what ``convert`` returns for ``size`` bytes of a client. Raises TooManyRequests too."""
        if size <= AT_ONCE_BYTES:
            return convert()
        async with self._turns.turn(client):
            return await asyncio.to_thread(convert)
