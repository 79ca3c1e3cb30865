"""The batches of one incoming stream on their way through this region's Raft."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rstore_api import errors
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.ports import RaftGroup
from rstore_replica.replication.waiting import Signal


class Inflow:
    """Proposes batches in order, several at a time, and tells how far the region has committed.

    Bounded by the configured window: :meth:`take` waits while that many bytes or batches are being proposed, and so
    the transport's flow control holds the source back.
    """

    def __init__(self, *, group: RaftGroup, clock: Clock, config: ReplicationConfig, revision: int) -> None:
        self._group = group
        self._clock = clock
        self._config = config
        self._next_prev = revision
        self._committed = revision
        self._bytes = 0
        self._proposals: set[asyncio.Task[None]] = set()
        self._room = Signal(clock)
        self._on_settled: Callable[[], None] = lambda: None
        self._error: errors.StoreError | None = None
        self._abandoned = ""
        self._closed = False

    @property
    def committed_revision(self) -> int:
        """The last revision this region has committed, as far as this stream brought it."""
        return self._committed

    @property
    def error(self) -> errors.StoreError | None:
        """Why a batch was not applied; nothing behind it is either."""
        return self._error

    @property
    def abandoned(self) -> str:
        """Why no more batches are taken, "" while they are."""
        return self._abandoned

    @property
    def idle(self) -> bool:
        """Whether no proposal is on its way."""
        return not self._proposals

    @property
    def ended(self) -> bool:
        """Whether this stream will bring nothing more."""
        return self._closed or bool(self._abandoned) or self._error is not None

    def on_settled(self, callback: Callable[[], None]) -> None:
        """Calls back after each proposal has ended and when the stream is abandoned."""
        self._on_settled = callback

    async def take(self, batch: pb.StreamBatch) -> None:
        """Proposes a batch; returns when it is on its way. Sets :attr:`error` when it cannot follow the last one."""
        size = len(batch.rows)
        while not self.ended and self._proposals and not self._has_room_for(size):
            await self._room.wait(self._config.silence_seconds)
        if self.ended:
            return
        if batch.prev_revision != self._next_prev or batch.last_revision < batch.prev_revision:
            self._fail(errors.Gap(f"the batch starts after revision {batch.prev_revision}, not {self._next_prev}"))
            return
        self._next_prev = batch.last_revision
        self._bytes += size
        entry = pb.LogEntry(rows=pb.ReplicatedRows(batch=batch)).SerializeToString()
        task = asyncio.create_task(self._propose(entry, batch.last_revision, size), name="replicated-rows")
        self._proposals.add(task)
        task.add_done_callback(self._settled)

    def abandon(self, reason: str) -> None:
        """Takes no more batches. Those already proposed run on; :meth:`settle` waits for them."""
        if not self._abandoned:
            self._abandoned = reason
        self._room.set()
        self._on_settled()

    def close(self) -> None:
        """The source sends no more; what was taken still runs to its end."""
        self._closed = True
        self._on_settled()

    async def settle(self) -> None:
        """Returns when no proposal is on its way; bounded by the proposals' own deadline."""
        while self._proposals:
            await asyncio.wait(set(self._proposals))

    def _has_room_for(self, size_bytes: int) -> bool:
        return (
            self._bytes + size_bytes <= self._config.window_bytes and len(self._proposals) < self._config.window_batches
        )

    async def _propose(self, entry: bytes, last_revision: int, size_bytes: int) -> None:
        try:
            result = await self._group.propose(entry, timeout_seconds=self._config.propose_seconds)
        except errors.StoreError as error:
            self._fail(error)
        else:
            if isinstance(result, errors.StoreError):
                self._fail(result)
            elif result != last_revision:
                self._fail(errors.Gap(f"revision {last_revision} was expected after the batch, not {result!r}"))
            else:
                self._committed = max(self._committed, last_revision)
        finally:
            self._bytes -= size_bytes

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._proposals.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fail(errors.StoreError(f"{task.exception()}"))
        self._room.set()
        self._on_settled()

    def _fail(self, error: errors.StoreError) -> None:
        if self._error is None:
            self._error = error
        self._room.set()
        self._on_settled()
