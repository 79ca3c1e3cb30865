"""A simulated operating system process: everything that was scheduled in its context ends with it, at once."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

TICK_SECONDS = 1e-6
"""What is to come later comes so much later at least: numbers this large know no smaller steps."""

PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("sim_process", default=None)


class ProcessDied(BaseException):
    """Unwinds the code of a process that died in the middle of something. Nobody may catch it."""


class Process:
    """Lives until :meth:`kill`. ``incarnation`` distinguishes it from those of the same name before and after."""

    def __init__(self, name: str, incarnation: int) -> None:
        self.name = name
        self.incarnation = incarnation
        self.alive = True
        self.stopped: list[asyncio.Handle] | None = None
        """What waits while the process does not get to run (its machine is busy, or it was paused)."""
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, self)

    def kill(self) -> None:
        """No handler, no clean-up: what it had scheduled just does not happen."""
        self.alive = False

    def pause(self, seconds: float) -> None:
        """It does not run for ``seconds`` while time goes on."""
        if self.stopped is None:
            self.stopped = []
            asyncio.get_running_loop().call_later(seconds, self._go_on, context=contextvars.Context())

    def _go_on(self) -> None:
        stopped, self.stopped = self.stopped or [], None
        ready: deque[asyncio.Handle] = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        ready.extend(stopped)

    def context(self) -> contextvars.Context:
        """A context to run something of this process in."""
        return self._context.copy()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process."""
        return asyncio.get_running_loop().create_task(work, context=self.context())

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """A callback of this process."""
        asyncio.get_running_loop().call_soon(callback, *args, context=self.context())


class HostClock:
    """A machine's clock: runs at its own rate. Timers set on it are slow or fast with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rate: float) -> None:
        self._loop = loop
        self._rate = rate

    def monotonic(self) -> float:
        """Seconds on this machine's clock."""
        return self._loop.time() * self._rate

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """After so many seconds of this machine's clock, and in any case when time has gone on."""
        return self._loop.call_later(
            max(TICK_SECONDS, delay_seconds) / self._rate if delay_seconds > 0 else 0.0, callback
        )
