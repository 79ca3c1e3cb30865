"""Where a replica is between its start and its end, and the tasks that it cannot do without."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from rstore_api.logs import get_logger

_log = get_logger(__name__)


class Life:
    """`failed` is resolved with the error when the replica cannot go on."""

    def __init__(self) -> None:
        self.running = False
        """Whether it takes part in its group."""
        self.stopping = False
        """Whether it was asked to stop."""
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    def fail(self, error: BaseException) -> None:
        """Nothing may be saved or handed on any more; the first error is kept."""
        _log.critical("replica_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
        if not self.failed.done():
            self.failed.set_result(error)

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Starts a task that lasts until :meth:`end`; the replica fails when it ends before."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self.fail(task.exception() or RuntimeError(f"the task {name} ended"))

        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(ended)
        self._tasks.append(task)

    async def end(self) -> None:
        """Cancels the tasks and returns when they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
