"""Time that passes only when a test says so."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class HandTimer:
    """A call that is still to come."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class HandClock:
    """Serves both as the product's clock and, by :meth:`monotonic`, as PySyncObj's."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now
        self._timers: list[tuple[float, int, HandTimer]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> HandTimer:
        timer = HandTimer(callback)
        heapq.heappush(self._timers, (self.now + max(0.0, delay_seconds), next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Lets time pass and makes the calls that fall due, those which they order included."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self.now = end
