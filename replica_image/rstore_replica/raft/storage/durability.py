"""Group commit: one sync at a time, everything written meanwhile shares the next; what depends on a sync waits here."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from rstore_replica.raft.storage.disk import Disk
from rstore_replica.raft.storage.journal import Journal

logger = logging.getLogger(__name__)

SLOW_SECONDS = 0.5


class Syncer:
    """Keeps the journal synced and releases, in order, what was held until then."""

    def __init__(
        self,
        journal: Journal,
        disk: Disk,
        *,
        synced: Callable[[], None],
        failed: Callable[[BaseException], None],
        took: Callable[[float], None] = lambda _seconds: None,
    ):
        """``synced`` is called after each sync; ``failed`` when one fails: nothing that waits is ever released then.
        ``took`` is called with how long each sync took."""
        self._journal = journal
        self._disk = disk
        self._synced = synced
        self._failed = failed
        self._took = took
        self._held: deque[tuple[int, Callable[[], object]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def hold(self, release: Callable[[], object]) -> None:
        """Calls ``release`` once all that is written by now is durable; at once when it is."""
        if not self._journal.dirty and not self._held:
            release()
        else:
            self._held.append((self._journal.position, release))

    def kick(self) -> None:
        """Starts a sync when there is something to sync and none is under way."""
        if self._task is not None or self._stopped:
            return
        self._release()  # the journal syncs by itself when its beginning moves
        if self._journal.dirty:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Waits for the sync under way; nothing is released after this."""
        self._stopped = True
        if self._task is not None:
            await self._task

    def _release(self) -> None:
        while self._held and not self._stopped and self._held[0][0] <= self._journal.synced_position:
            self._held.popleft()[1]()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._journal.dirty and not self._stopped:
                pending = self._journal.take_sync()
                started = loop.time()
                await self._disk.run(pending.work)
                seconds = loop.time() - started
                self._took(seconds)
                if seconds > SLOW_SECONDS:
                    logger.warning("raft_sync_slow seconds=%.2f", seconds)
                pending.done()
                self._release()
                if not self._stopped:
                    self._synced()
        except Exception as error:
            self._failed(error)
        finally:
            self._task = None
