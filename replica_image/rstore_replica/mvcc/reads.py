"""What a state machine knows and what can be read from it, by clients and by other regions.

Callable in any thread at any time, but where it says otherwise; an answer is of one state, whatever is applied
meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rstore_api.domain.epochs import settled
from rstore_api.errors import Compacted, NoSpace, StoreError
from rstore_api.proto.rpc_pb2 import RangeRequest, RangeResponse, ResponseHeader
from rstore_api.proto.rstore_pb2 import WriteLimits

from rstore_replica.mvcc.data import hashing
from rstore_replica.mvcc.data.gate import MapGate
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.data.store import Position, Store
from rstore_replica.mvcc.requests.range import check_exists, check_revision, encode_range, read_range
from rstore_replica.mvcc.state import RegionState
from rstore_replica.mvcc.subscribers import Subscribers
from rstore_replica.mvcc.tail_facts import Tail
from rstore_replica.mvcc.tails.steps import hides_rows
from rstore_replica.mvcc.transfer import snapshot, stream
from rstore_replica.mvcc.transfer.holds import Hold, Holds
from rstore_replica.mvcc.transfer.staging import Staged
from rstore_replica.mvcc.transfer.stream import RowBatch

HASH_CHUNK_KEYS = 256
HASH_CHUNK_BYTES = 1 << 20
HASH_PAUSE_SECONDS = 0.002
"""After each chunk, about as long as one takes: a hash gets half of the loop's time at most."""


class Reads:
    """The part of :class:`machine.Machine` that changes nothing."""

    _region: str
    _limits: WriteLimits
    _quota_bytes: int
    _gate: MapGate
    _store: Store
    _position: Position
    _state: RegionState
    _staged: Staged | None
    _holds: Holds
    _revision_changes: Subscribers[int]
    _state_changes: Subscribers[RegionState]

    # ------------------------------------------------------------------------------------------ what it knows

    @property
    def applied_index(self) -> int:
        """Index of the last entry applied, kept with the data; 0 when nothing was."""
        return self._position.applied_index

    @property
    def applied_term(self) -> int:
        """Term of the last entry applied."""
        return self._position.applied_term

    @property
    def revision(self) -> int:
        """The newest revision; 1 in an empty store."""
        return self._position.revision

    @property
    def compact_revision(self) -> int:
        """Reads below this revision are refused; 0 when nothing was compacted."""
        return self._position.compact_revision

    @property
    def state(self) -> RegionState:
        """Store id, epochs, role and topology."""
        return self._state

    @property
    def staged(self) -> Staged | None:
        """What is here of a snapshot of another region that is not visible yet."""
        return self._staged

    @property
    def db_size_bytes(self) -> int:
        """Bytes of the data file that have been used at some time."""
        with self._gate.shared():
            return self._store.size_bytes()

    @property
    def db_in_use_bytes(self) -> int:
        """Bytes of the data file that hold data; what the quota is compared with."""
        with self._gate.shared():
            return self._store.in_use_bytes()

    @property
    def quarantined(self) -> tuple[Tail, ...]:
        """The diverged tails that the region keeps in quarantine; ``quarantine.whole`` are those on this volume."""
        return self._state.tails

    def refusal_of_rewind(self, fork_revision: int) -> StoreError | None:
        """Why what is above ``fork_revision`` cannot be undone, or its next rows cannot go to quarantine: Compacted,
        NoSpace.
        """
        if fork_revision < settled(self._state.history, self._position.compact_revision):
            return Compacted(f"revision {fork_revision} is compacted, a snapshot is needed")
        return self.refusal_of_export()

    def refusal_of_export(self) -> StoreError | None:
        """NoSpace when there is no room for more of a tail on this replica's volume."""
        return self._refusal_of("more of a diverged tail in quarantine")

    def refusal_of_staging(self) -> StoreError | None:
        """NoSpace when there is no room for more of a snapshot on this replica's volume."""
        return self._refusal_of("more of a snapshot")

    def _refusal_of(self, what: str) -> StoreError | None:
        with self._gate.shared():
            full = self._store.disk_is_full()
        return NoSpace(f"the disk has no room for {what}") if full else None

    @property
    def is_nearly_full(self) -> bool:
        """Whether what compaction could remove is needed: nine tenths of the quota are in use, or the disk is full."""
        with self._gate.shared():
            return self._store.in_use_bytes() * 10 > self._quota_bytes * 9 or self._store.disk_is_full()

    def write_limits(self, incoming_bytes: int = 0) -> WriteLimits:
        """The limits a leader must put into each write batch it proposes, so that all replicas decide alike.

        ``incoming_bytes`` is what the batch will add: above the quota, or on a full disk, only requests that add
        nothing will be carried out.
        """
        with self._gate.shared():
            full = self._store.in_use_bytes() + incoming_bytes > self._quota_bytes or self._store.disk_is_full()
        limits = WriteLimits(no_space=full)
        limits.MergeFrom(self._limits)
        return limits

    # ------------------------------------------------------------------------------------------ reads

    @contextmanager
    def _reading(self) -> Iterator[tuple[Reader, Position]]:
        """A reader and the position that belongs to what it sees, whatever is applied meanwhile."""
        with self._gate.shared(), self._store.read() as transaction:
            position = self._store.load_position(transaction)
            reader = Reader(self._store.at_generation(position.generation), transaction, self._region)
            if hides_rows(self._store, transaction):
                reader.bound = position.revision
            yield reader, position

    def range(self, request: RangeRequest) -> RangeResponse:
        """Serves a Range from what is applied here, the header left empty. Callable from any thread.

        Raises EmptyKey, InvalidSort, Compacted or FutureRevision.
        """
        with self._reading() as (reader, position):
            return read_range(reader, request, position.revision, position.compact_revision)

    def encoded_range(self, request: RangeRequest, header: ResponseHeader) -> bytes:
        """As :meth:`range`, with the header, as it goes over the wire: for large ranges, in a thread."""
        with self._reading() as (reader, position):
            return encode_range(reader, request, position.revision, position.compact_revision, header)

    async def hash_kv(self, revision: int) -> hashing.HashResult:
        """Hashes the keys as they were at ``revision`` (0: the newest), in chunks between which the loop goes on.

        Raises FutureRevision, or Compacted (also when compaction passes the revision meanwhile, or a snapshot takes
        the place of the data).
        """
        revision = revision if revision > 0 else self.revision
        generation = self._position.generation
        progress = hashing.HashProgress()
        compact_revision = 0
        while progress.next_key is not None:
            with self._reading() as (reader, position):
                check_revision(revision, position.revision, position.compact_revision)
                check_exists(reader, revision, position.revision)
                if position.generation != generation:
                    raise Compacted("a snapshot has taken the place of the data")
                progress = hashing.hash_some(
                    reader, revision, progress, max_keys=HASH_CHUNK_KEYS, max_bytes=HASH_CHUNK_BYTES
                )
                compact_revision = position.compact_revision
            await asyncio.sleep(HASH_PAUSE_SECONDS if progress.next_key is not None else 0)
        return hashing.HashResult(progress.checksum, revision, compact_revision)

    def rows_after(self, revision: int, *, max_bytes: int, max_rows: int) -> RowBatch:
        """Rows for another region, see :func:`stream.rows_after`. Raises Compacted or FutureRevision.

        Callable from any thread.
        """
        with self._reading() as (reader, position):
            return stream.rows_after(
                reader,
                self._store.load_region(reader.transaction, self._region).history,
                revision=revision,
                newest=position.revision,
                compact_revision=self._holds.floor(position),
                max_bytes=max_bytes,
                max_rows=max_rows,
            )

    def snapshot_after(
        self, after_key: bytes, revision: int, *, max_bytes: int, max_rows: int
    ) -> snapshot.SnapshotRows:
        """Keys as they were at ``revision``, for another region, see :func:`snapshot.read_chunk`.

        Raises Compacted or FutureRevision. Callable from any thread.
        """
        with self._reading() as (reader, position):
            check_revision(revision, position.revision, self._holds.floor(position))
            return snapshot.read_chunk(reader, revision, after_key, max_bytes=max_bytes, max_rows=max_rows)

    def hold(self, revision: int) -> Hold:
        """Keeps what :meth:`rows_after` and :meth:`snapshot_after` need from ``revision`` on, until it is released.

        Raises Compacted when some of it has been removed.
        """
        if revision < settled(self._state.history, self._position.swept_revision):
            raise Compacted(f"revision {revision} is gone, {self._position.swept_revision} is left")
        return self._holds.take(revision)

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Calls back with the new revision after each apply (or restore) that changed it; returns how to stop that.

        Who follows the revisions one by one finds that they are not there any more where a snapshot has taken the
        place of the data: ``compact_revision`` is then the new revision, and what was being followed was compacted.

        Subscribed on an event loop, it is called on that loop, wherever the change was made.
        """
        return self._revision_changes.add(callback)

    def subscribe_state(self, callback: Callable[[RegionState], None]) -> Callable[[], None]:
        """As :meth:`subscribe`, after each change of the region's state."""
        return self._state_changes.add(callback)
