"""What happens to some keys from a revision on, as one task of this replica reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rstore_api.errors import Compacted, StoreError
from rstore_api.rows import Row

from rstore_replica.api.watch.pump import Pump
from rstore_replica.mvcc.watch.events import Batch, Want
from rstore_replica.mvcc.watch.hub import Watcher
from rstore_replica.mvcc.watch.ranges import Span


class Changes:
    """A watch without a client: at most one batch of changes waits to be taken."""

    def __init__(self, pump: Pump, span: Span, want: Want, start_revision: int) -> None:
        """Begins. ``pump.known()`` must have returned before."""
        self._pump = pump
        self._want = want
        self._batch: list[Row] = []
        self._error: StoreError | None = None
        self._news = asyncio.Event()
        self._watcher = Watcher(self, 0, span, want)
        pump.begin(self._watcher, start_revision)

    async def next(self) -> list[Row]:
        """Returns the next changes that are wanted, of whole revisions, one at least.

        Raises Compacted when there is a gap: the revision to go on from is not in the history any more; or the error
        that :meth:`stop` was given.
        """
        await self._news.wait()
        if not self._batch and self._error is not None:
            raise self._error
        self._news.clear()
        batch, self._batch = self._batch, []
        if self._error is not None:
            self._news.set()
        self._pump.hub.resume(self)
        self._pump.wake()
        return batch

    def stop(self, error: StoreError) -> None:
        """Has :meth:`next` raise this error."""
        self._error = self._error or error
        self._news.set()

    def close(self) -> None:
        """Ends the watch."""
        self._pump.hub.remove(self._watcher)
        self._pump.wake()

    # ------------------------------------------------------------------ what the hub says

    def deliver(self, _watchers: Sequence[Watcher], batch: Batch) -> int:
        """Takes what is wanted of a batch, if the one before was taken."""
        wanted = [
            change.row for change in batch.changes if (self._want.deletions if change.row.deletion else self._want.puts)
        ]
        if not wanted:
            return 1
        if self._batch:
            return 0
        self._batch = wanted
        self._news.set()
        return 1

    def cancelled(self, _watcher: Watcher, compact_revision: int) -> None:
        """The watch has ended."""
        self.stop(Compacted(f"revision {compact_revision} is the first that there is"))
