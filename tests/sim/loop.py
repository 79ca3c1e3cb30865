"""An asyncio event loop on virtual time: no selector, no threads, no waiting. Time jumps to the next timer.

What runs, and in which order, follows from what was scheduled alone, so a run is a function of its seed. A callback
belongs to the process in whose context it was scheduled; those of a process that has died are never called again.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from sim.process import PROCESS

START_SECONDS = 1000.0
KEPT_TASKS = 20_000
MISTAKES = (AssertionError, AttributeError, NameError, TypeError, KeyError, IndexError)
"""What says that code is wrong, the simulator's or the product's, if a task ends with it."""


class Stuck(RuntimeError):  # noqa: N818
    """Nothing is left to do though somebody waits, or the run does not come to an end."""


class _Numbered:
    """A hash that is the same in every process, so that sets are walked in the same order; by default it is where the
    object is in memory.
    """

    def __init__(self, *args: Any, loop: VirtualLoop, **options: Any) -> None:
        self._number = next(loop.numbers)
        super().__init__(*args, loop=loop, **options)  # type: ignore[call-arg] # it comes before a future or task

    def __hash__(self) -> int:
        return self._number


class _Future(_Numbered, asyncio.Future[Any]):
    pass


class _Task(_Numbered, asyncio.Task[Any]):
    pass


class VirtualLoop(asyncio.BaseEventLoop):
    """The event loop of one run, which raises :class:`Stuck` after ``max_callbacks`` callbacks."""

    def __init__(self, *, max_callbacks: int) -> None:
        super().__init__()
        self._now = START_SECONDS
        self._left = max_callbacks
        self.callbacks = 0
        self.numbers = itertools.count()
        """Of its futures and tasks."""
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_count = 0
        self._started: list[asyncio.Task[Any]] = []
        self._mistakes: list[Exception] = []
        self.set_task_factory(self._start)

    def _start(self, _loop: object, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        """Held until the run is over: a process that has died does not clean up when nobody waits for it any more."""
        task = _Task(coroutine, loop=self, **options)
        self._started.append(task)
        if len(self._started) >= KEPT_TASKS:
            self._drop_ended()
        return task

    def create_future(self) -> asyncio.Future[Any]:
        """Returns one with a number."""
        return _Future(loop=self)

    def mistakes(self) -> list[Exception]:
        """The errors with which tasks ended so far that no code raises on purpose."""
        self._drop_ended()
        return self._mistakes

    def _drop_ended(self) -> None:
        ended = [task for task in self._started if task.done()]
        self._started = [task for task in self._started if not task.done()]
        errors = (task.exception() for task in ended if not task.cancelled())
        self._mistakes += [error for error in errors if isinstance(error, MISTAKES)]

    def call_at(  # type: ignore[override] # the callback's arguments are Any
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Timers of the same moment come in the order in which they were set."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, timer))
        return timer

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Does the work at once, a millisecond later: there are no threads."""
        future = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_later(0.001, work)
        return future

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody need be woken."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not ready:
            if not timers:
                raise Stuck("somebody waits for what can never come")
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])
        count = len(ready)
        self.callbacks += count
        self._left -= count
        if self._left < 0:
            raise Stuck(f"{self.callbacks} callbacks and no end")
        for _ in range(count):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is None or (process.alive and process.stopped is None):
                handle._run()
            elif process.alive:
                process.stopped.append(handle)
