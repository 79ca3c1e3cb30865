"""Time as an argument: nothing below reads a clock that was not handed in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Forgets the call; harmless when it has been made."""


class Clock(Protocol):
    """A monotonic clock and the timers that go with it."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Timer:
        """Calls ``callback`` on the running event loop once ``delay_seconds`` have passed."""


_SUSPEND_COUNTS = time.CLOCK_BOOTTIME if hasattr(time, "CLOCK_BOOTTIME") else time.CLOCK_MONOTONIC
"""The clock that goes on while the machine is suspended. Linux has one of its own for that; elsewhere (macOS) the
monotonic clock does so, but ``time.monotonic`` does not read that one."""


class SystemClock:
    """The machine's clock and the running asyncio loop's timers."""

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock, those included in which the machine was suspended: a tenure that
        was held before has run out after.
        """
        return time.clock_gettime(_SUSPEND_COUNTS)

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Timer:
        """See :class:`Clock`."""
        return asyncio.get_running_loop().call_later(max(0.0, delay_seconds), callback)
