"""Waiting with a deadline on an injected clock, and running several coroutines until the first one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from rstore_replica.raft.clock import Clock

T = TypeVar("T")


async def cancel_and_wait(*tasks: asyncio.Future[Any]) -> None:
    """Cancels the tasks and returns when all have ended. Their results and errors are dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def first_to_end(*coroutines: Coroutine[Any, Any, T]) -> T:
    """Runs all at once; when the first ends, cancels the others and returns its result or raises its error.

    When several have ended together, an error wins over a result, so that none is lost.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*tasks)
    ended = [task for task in tasks if task in done]
    failed = [task for task in ended if not task.cancelled() and task.exception() is not None]
    return (failed or ended)[0].result()


async def sleep(clock: Clock, seconds: float) -> None:
    """Returns after ``seconds`` of the clock's time."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_later(seconds, lambda: _resolve(over))
    try:
        await over
    finally:
        timer.cancel()


async def within(clock: Clock, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    """The coroutine's result; when ``seconds`` pass first it is cancelled, and TimeoutError raised once it ended."""
    task = asyncio.ensure_future(coroutine)
    expired = False

    def expire() -> None:
        nonlocal expired
        if not task.done():
            expired = True
            task.cancel()

    timer = clock.call_later(seconds, expire)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        await cancel_and_wait(task)
        raise
    finally:
        timer.cancel()
    if expired and task.cancelled():
        raise TimeoutError(f"took longer than {seconds:g} s")
    return task.result()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Signal:
    """A flag that wakes its one waiter; signals that come while nobody waits are kept as one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wakes the waiter, now or when it next waits."""
        self._is_set = True
        if self._waiter is not None:
            _resolve(self._waiter)

    async def wait(self, seconds: float) -> bool:
        """True as soon as there is a signal (which is then used up), False when ``seconds`` passed without one."""
        if not self._is_set and seconds > 0:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiter = waiter
            timer = self._clock.call_later(seconds, lambda: _resolve(waiter))
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiter = None
        was_set, self._is_set = self._is_set, False
        return was_set
