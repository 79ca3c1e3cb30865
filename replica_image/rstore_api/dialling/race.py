"""Several attempts at the same thing, each begun a little after the one before, of which the first that works counts.

So an attempt that hangs, on an address at which nobody is any more, holds up the others for a short while only
(Schinazi and Pauly, "Happy Eyeballs Version 2", RFC 8305, section 5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


async def first_success(
    attempts: Iterator[Coroutine[Any, Any, T]],
    *,
    every_seconds: float,
    go_on: bool,
    discard: Callable[[T], Awaitable[None]],
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
) -> T:
    """The result of the first attempt that works; the others are cancelled, and ``discard`` gets what they still made.

    The next attempt begins ``every_seconds`` after the last one, or at once where none is under way any more: with
    ``go_on`` True; else the last error is raised then. Raises the last error when all have failed, LookupError when
    there is no attempt at all.
    """
    running: set[asyncio.Task[T]] = set()
    pause: asyncio.Task[None] | None = None
    last: BaseException = LookupError("there is nothing to try")
    more = True
    try:
        while True:
            if more and (not running or pause is None or pause.done()):
                attempt = next(attempts, None)
                more = attempt is not None
                if attempt is not None:
                    running.add(asyncio.ensure_future(attempt))
                    if pause is not None:
                        pause.cancel()
                    pause = asyncio.ensure_future(sleep(every_seconds))
            if not running:
                raise last
            waiting: set[asyncio.Future[Any]] = {*running}
            if more and pause is not None:
                waiting.add(pause)
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task.done()]:
                running.discard(task)
                if task.cancelled():
                    last = asyncio.CancelledError()
                elif (error := task.exception()) is not None:
                    last = error
                else:
                    return task.result()
            if not running and not go_on:
                raise last
    finally:
        if pause is not None:
            pause.cancel()
        await _end(running, discard)


async def _end(running: set[asyncio.Task[T]], discard: Callable[[T], Awaitable[None]]) -> None:
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if not isinstance(result, BaseException):
            await discard(result)
