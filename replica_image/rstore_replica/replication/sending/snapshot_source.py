"""A snapshot on its way to one other region, as the source sees it: which one, how far it is, what comes next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.domain.epochs import BASE_REVISION, EpochStart, settled
from rstore_api.domain.forks import Chain
from rstore_api.messages import history_messages, history_of
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.ports import ReplicatedMachine
from rstore_replica.replication.sending.window import Window

CHUNK_BYTES = 256 << 10
CHUNK_ROWS = 512
"""A chunk is read, and applied, on the event loop: a few milliseconds."""


@dataclass(frozen=True)
class SnapshotId:
    """Two snapshots with the same store, history and revision hold the same, from any sender (I3)."""

    history: tuple[EpochStart, ...]
    revision: int

    @staticmethod
    def newest(chain: Chain) -> SnapshotId:
        """Returns what the chain holds now."""
        return SnapshotId.at(chain, settled(chain.history, chain.revision))

    @staticmethod
    def at(chain: Chain, revision: int) -> SnapshotId:
        """Returns what the chain held at a revision that exists in it."""
        return SnapshotId(tuple(start for start in chain.history if start.first_revision <= revision), revision)

    @staticmethod
    def of_staged(chain: Chain, store_id: str, staged: pb.StagedSnapshot) -> SnapshotId | None:
        """What another region has begun to stage, when this chain holds the same: then it can be gone on with."""
        revision = staged.revision
        if staged.store_id != store_id or not BASE_REVISION < revision <= chain.revision:
            return None
        # A revision that this chain leaves out, or never had, may have been in a tail that another chain has.
        ours = SnapshotId.at(chain, revision) if settled(chain.history, revision) == revision else None
        return ours if ours is not None and ours.history == history_of(staged.history) else None


class SnapshotSource:
    """Reads chunks, each in a transaction of its own, and keeps count of what the other side has committed."""

    def __init__(
        self,
        snapshot: SnapshotId,
        *,
        store_id: str,
        epoch: int,
        staged: pb.StagedSnapshot | None,
        machine: ReplicatedMachine,
        clock: Clock,
        config: ReplicationConfig,
    ) -> None:
        """Goes on from ``staged``, which is of the same snapshot, or begins it."""
        self.snapshot = snapshot
        self.window = Window(max_bytes=config.window_bytes, max_batches=config.window_batches)
        self._store_id = store_id
        self._epoch = epoch
        self._machine = machine
        self._clock = clock
        self._max_bytes = min(config.max_batch_bytes, CHUNK_BYTES)
        self._max_rows = min(config.max_batch_rows, CHUNK_ROWS)
        self._scanned = self._sent_key = staged.last_key if staged is not None else b""
        self._on_their_way: deque[tuple[bytes, int, int]] = deque()  # last key, rows, bytes
        self._number = self._acked_number = 0
        self.rows = staged.rows if staged is not None else 0
        self.size_bytes = staged.size_bytes if staged is not None else 0
        self.all_sent = False
        self.installed = False

    def next_chunk(self) -> pb.SnapshotChunk | None:
        """Returns the next chunk to send; None when this look found only keys that are not of the snapshot.

        Raises Compacted when the revision can no longer be read.
        """
        chunk_rows = self._machine.snapshot_after(
            self._scanned, self.snapshot.revision, max_bytes=self._max_bytes, max_rows=self._max_rows
        )
        self._scanned = chunk_rows.last_key
        if not chunk_rows.count and not chunk_rows.last:
            return None
        chunk = pb.SnapshotChunk(
            store_id=self._store_id,
            epoch=self._epoch,
            history=history_messages(self.snapshot.history),
            revision=self.snapshot.revision,
            after_key=self._sent_key,
            last_key=chunk_rows.last_key,
            rows=chunk_rows.packed,
            row_count=chunk_rows.count,
            last=chunk_rows.last,
        )
        self._sent_key, self.all_sent = chunk_rows.last_key, chunk_rows.last
        self._number += 1
        self._on_their_way.append((chunk_rows.last_key, chunk_rows.count, len(chunk_rows.packed)))
        self.window.sent(self._number, len(chunk_rows.packed), self._clock.monotonic())
        return chunk

    def acked(self, ack: pb.SnapshotAck) -> None:
        """The other side has committed chunks, or installed all of them. Raises LinkBrokenError."""
        if ack.last_key > self._sent_key or (ack.installed and not self.all_sent):
            raise LinkBrokenError("more of the snapshot was acknowledged than was sent")
        while self._on_their_way and (ack.installed or self._on_their_way[0][0] <= ack.last_key):
            _, rows, size_bytes = self._on_their_way.popleft()
            self._acked_number += 1
            self.rows += rows
            self.size_bytes += size_bytes
        self.window.acked(self._acked_number, self._clock.monotonic())
        self.installed = ack.installed
