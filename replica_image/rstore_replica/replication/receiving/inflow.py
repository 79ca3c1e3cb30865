"""What one incoming stream brings, on its way through this region's Raft: batches of rows, or first a snapshot."""

from __future__ import annotations

from rstore_api import errors
from rstore_api.domain.forks import Chain
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.ports import RaftGroup
from rstore_replica.replication.receiving.pipeline import Pipeline

DELETIONS_PER_SECOND = 10_000
"""Keys that a slow replica deletes."""


class Inflow(Pipeline):
    """Proposes in order, several at a time, and tells how far the region has committed."""

    def __init__(
        self, *, group: RaftGroup, clock: Clock, config: ReplicationConfig, held: Chain, fork_revision: int
    ) -> None:
        """``held`` is what the region holds as the stream begins; up to ``fork_revision`` it is the source's, too."""
        super().__init__(group=group, clock=clock, config=config)
        self._held = held
        self._fork_revision = fork_revision
        self._next_prev = self._committed = held.revision
        self._deleting = 0  # keys that large deletions on their way delete
        self._staged_key = b""
        self._installed = False

    @property
    def committed_revision(self) -> int:
        """The last revision this region has committed, as far as this stream brought it."""
        return self._committed

    @property
    def staged_key(self) -> bytes:
        """Up to where this region has committed a snapshot, as far as this stream brought it."""
        return self._staged_key

    @property
    def installed(self) -> bool:
        """Whether a snapshot that this stream brought is in the place of what the region held."""
        return self._installed

    async def take(self, batch: pb.StreamBatch) -> None:
        """Proposes a batch; returns when it is on its way. Sets :attr:`error` when it cannot follow the last one."""
        if not await self.room(len(batch.rows)):
            return
        if batch.prev_revision != self._next_prev or batch.last_revision < batch.prev_revision:
            self.fail(errors.Gap(f"the batch starts after revision {batch.prev_revision}, not {self._next_prev}"))
            return
        self._next_prev = last_revision = batch.last_revision
        deleted = batch.deleted.count if batch.HasField("deleted") else 0
        self._deleting += deleted

        def committed() -> None:
            self._deleting -= deleted
            self._committed = max(self._committed, last_revision)

        rows = pb.ReplicatedRows(batch=batch)
        entry = pb.LogEntry(deleted_rows=rows) if deleted else pb.LogEntry(rows=rows)
        patience = self._deleting / DELETIONS_PER_SECOND
        self.submit(entry.SerializeToString(), len(batch.rows), last_revision, committed, patience)

    async def take_chunk(self, chunk: pb.SnapshotChunk) -> None:
        """Proposes a chunk of a snapshot, as :meth:`take` does a batch. Rows may follow once it is installed."""
        if not await self.room(len(chunk.rows)):
            return
        step = pb.SnapshotStep(
            chunk=chunk,
            held_revision=self._held.revision,
            held_epoch=self._held.epoch,
            fork_revision=self._fork_revision,
        )
        last, last_key, revision = chunk.last, chunk.last_key, chunk.revision

        def committed() -> None:
            self._staged_key = last_key
            if last:
                self._installed = True
                self._next_prev = self._committed = revision

        entry = pb.LogEntry(snapshot=step).SerializeToString()
        self.submit(entry, len(chunk.rows), revision if last else last_key, committed)
