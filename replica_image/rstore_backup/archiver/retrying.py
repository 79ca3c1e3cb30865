"""Trying again what has failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

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
