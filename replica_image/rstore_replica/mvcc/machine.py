"""The state machine: applies the entries of the region's Raft log to LMDB, and serves reads.

Applying is deterministic: it depends on the entry and the state alone. Whatever may differ between replicas
(settings, free space, time) was decided by the leader and is in the entry. Each entry is one LMDB transaction with
everything it changes, ``applied_index`` included. What a client did wrong is answered with a ``StoreError`` as a
value; an exception means that this replica cannot go on: :class:`ApplyBug`, or ``store.StorageFailed`` when the disk
does not do its part (an entry that is committed in the region cannot be refused by one replica).

Everything that changes something is called on the event loop, but for ``restore``, which may run in a thread while
nothing is applied. Reads and ``checkpoint`` may run in any thread at any time.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb
import msgspec
from google.protobuf.message import DecodeError
from rstore_api.domain.epochs import settled
from rstore_api.domain.limits import MAX_TXN_OPS, QUOTA_BYTES
from rstore_api.errors import Compacted, InvalidRequest, NoSpace, StoreError
from rstore_api.proto.rpc_pb2 import RangeRequest, RangeResponse, ResponseHeader
from rstore_api.proto.rstore_pb2 import LogEntry, WriteLimits

from rstore_replica.mvcc.background import Background
from rstore_replica.mvcc.commands.command import Mutates, Place
from rstore_replica.mvcc.commands.registry import COMMANDS, Registry, UnknownCommandError
from rstore_replica.mvcc.data import checkpoint, compaction, deleted_ranges, leases
from rstore_replica.mvcc.data.auth import SWITCH_KEY, UNTOUCHED, AuthRecords, AuthState
from rstore_replica.mvcc.data.gate import MapGate
from rstore_replica.mvcc.data.hashing import HashResult
from rstore_replica.mvcc.data.hidden import hides_rows
from rstore_replica.mvcc.data.leases import Lease
from rstore_replica.mvcc.data.outcome import Outcome
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.data.store import (
    INITIAL_MAP_BYTES,
    MAX_MAP_BYTES,
    Position,
    StorageFailed,
    Store,
    Transaction,
    may_be_full,
)
from rstore_replica.mvcc.data.walks import SLICE_KEYS, SliceEndedError, Walks
from rstore_replica.mvcc.requests import budget, deletion
from rstore_replica.mvcc.requests.counts import RangeCounts
from rstore_replica.mvcc.requests.dedup import RequestMemory
from rstore_replica.mvcc.requests.hash_kv import hash_kv
from rstore_replica.mvcc.requests.range import check_revision, encode_range, read_range, view_of
from rstore_replica.mvcc.state import RegionState, knowing, without_epochs_above
from rstore_replica.mvcc.subscribers import Subscribers
from rstore_replica.mvcc.tail_facts import Tail
from rstore_replica.mvcc.tails.quarantine import Quarantine
from rstore_replica.mvcc.tails.rewind import rewind
from rstore_replica.mvcc.transfer import export, snapshot, staging, stream
from rstore_replica.mvcc.transfer.holds import Hold, Holds
from rstore_replica.mvcc.watch import reader

COMPACTION_PAUSE_SECONDS = 0.01
BEHIND_REVISIONS = 50_000
"""With more left to remove than this, compaction takes larger steps and hardly pauses: writes must not outrun it."""
BEHIND_STEP_ROWS = 4 * compaction.DEFAULT_STEP_ROWS
BEHIND_PAUSE_SECONDS = 0.001
CLEAR_STEP_ENTRIES = 1024
MAX_GROWTHS = 14
MAP_QUOTAS = 4
"""The map has room for so many times the quota: the data, a snapshot on its way in, what is being removed, and some.

To grow it the event loop has to wait until nobody reads, and a checkpoint reads for as long as the disk takes to write
all of the data. A map takes addresses, and neither memory nor disk.
"""

T = TypeVar("T")


class ApplyBug(RuntimeError):  # noqa: N818
    """Applying an entry failed in a way nobody foresaw. Nothing of the entry was applied; the process must stop."""


class _Reading:
    """A context manager: a reader, and the position that belongs to what it sees. A class, for each call makes one."""

    __slots__ = ("_machine", "_transaction")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._transaction: Transaction = None

    def __enter__(self) -> tuple[Reader, Position]:
        machine = self._machine
        machine._gate.enter()
        try:
            store = machine._store  # only from here on: a restore puts another in its place
            self._transaction = transaction = store.read()
            position = store.load_position(transaction)
            reader = Reader(store.at_generation(position.generation), transaction, machine._region)
            if hides_rows(store, transaction):
                reader.bound = position.revision
        except BaseException:
            self.__exit__()
            raise
        return reader, position

    def __exit__(self, *_error: object) -> None:
        try:
            if self._transaction is not None:
                self._transaction.abort()
                self._transaction = None  # LMDB's slot for it is free only once it is collected
        finally:
            self._machine._gate.leave()


class Machine:
    """The state of one replica: what is applied to it, and what clients and other regions read of it.

    Made by :meth:`open`.
    """

    def __init__(
        self,
        path: Path,
        region: str,
        limits: WriteLimits,
        quota_bytes: int,
        map_bytes: int,
        quarantine: Path,
        commands: Registry,
        commit_took: Callable[[float], None],
        deletion_step_keys: int,
        slice_keys: int,
    ) -> None:
        self._path = path
        self._commit_took = commit_took
        self.quarantine = Quarantine(quarantine)
        self._region = region
        self._limits = limits
        self._quota_bytes = quota_bytes
        self._commands = commands
        self._deletion_step_keys = deletion_step_keys
        self._map_bytes = map_bytes
        self._lock = threading.RLock()  # one writer at a time
        self._gate = MapGate()
        self._revision_changes: Subscribers[int] = Subscribers()
        self._state_changes: Subscribers[RegionState] = Subscribers()
        self._lease_changes: Subscribers[Mapping[int, Lease | None]] = Subscribers()
        self._holds = Holds(self._tidy_up_later)
        self._counts = RangeCounts()
        self._background = Background(self._tidy_up)
        self._walks = Walks(slice_keys)
        self._closed = False
        self._restores = 0
        self._load()

    @staticmethod
    def open(
        path: Path,
        *,
        region: str,
        max_txn_ops: int = MAX_TXN_OPS.default,
        max_revision_rows: int = budget.DEFAULT_MAX_ROWS,
        max_revision_bytes: int = budget.DEFAULT_MAX_BYTES,
        quota_bytes: int = QUOTA_BYTES,
        map_bytes: int = 0,
        quarantine: Path | None = None,
        commands: Registry = COMMANDS,
        commit_took: Callable[[float], None] = lambda _seconds: None,
        deletion_step_keys: int = deletion.DEFAULT_STEP_KEYS,
        slice_keys: int = SLICE_KEYS,
    ) -> Machine:
        """Opens or creates the data under ``path``, completing a restore that was interrupted.

        ``map_bytes`` is where the memory map starts (default: where it need not grow); it grows by itself.
        ``quarantine`` is where diverged tails go (default: beside ``path``); ``commands`` are the kinds that
        this version applies. ``commit_took`` is called with how long each commit of the database took, in seconds;
        ``deletion_step_keys`` is how many keys of a large deletion one call of :meth:`apply` goes through, and
        ``slice_keys`` how many keys ranges inside a write pass over in one call.
        Raises ``StorageFailed``.
        """
        limits = WriteLimits(
            max_txn_ops=max_txn_ops, max_revision_rows=max_revision_rows, max_revision_bytes=max_revision_bytes
        )
        quarantine = quarantine or path.with_name(f"{path.name}.quarantine")
        map_bytes = map_bytes or max(INITIAL_MAP_BYTES, min(MAP_QUOTAS * quota_bytes, MAX_MAP_BYTES))
        return Machine(
            path,
            region,
            limits,
            quota_bytes,
            map_bytes,
            quarantine,
            commands,
            commit_took,
            deletion_step_keys,
            slice_keys,
        )

    def _load(self) -> None:
        self._store = Store(checkpoint.settle(self._path), map_bytes=self._map_bytes)
        try:
            with self._store.read() as transaction:
                self._position = self._store.load_position(transaction)
                self._state = self._store.load_region(transaction, self._region)
                self._staged = staging.load(self._store, transaction)
                unfinished = deletion.load(self._store, transaction)
                self._unfinished_index = 0 if unfinished is None else unfinished.index
                self._auth = self._auth_at(transaction, self._position, UNTOUCHED)
        except BaseException:
            self._store.close()
            raise
        self._store = self._store.at_generation(self._position.generation)
        self._clearing = True  # of what a crash has left behind, in generations that nobody uses

    def sync(self) -> None:
        """Makes all that was applied durable; blocks for as long as that takes. Raises StorageFailed."""
        with self._gate.shared:
            self._store.sync()
        self.quarantine.sync()

    def close(self) -> None:
        """Closes the data; may be called twice. Nothing may be called afterwards."""
        with self._lock:
            self._closed = True
            self._background.stop()
            with self._gate.exclusive():
                self._store.close()

    # ------------------------------------------------------------------------------------------ state

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
    def staged(self) -> staging.Staged | None:
        """What is here of a snapshot of another region that is not visible yet."""
        return self._staged

    @property
    def db_size_bytes(self) -> int:
        """Bytes of the data file that have been used at some time."""
        with self._gate.shared:
            return self._store.size_bytes()

    @property
    def db_in_use_bytes(self) -> int:
        """Bytes of the data file that hold data; what the quota is compared with."""
        with self._gate.shared:
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
        """Returns NoSpace when there is no room for more of a tail on this replica's volume."""
        return self._refusal_of("more of a diverged tail in quarantine")

    def refusal_of_staging(self) -> StoreError | None:
        """Returns NoSpace when there is no room for more of a snapshot on this replica's volume."""
        return self._refusal_of("more of a snapshot")

    def _refusal_of(self, what: str) -> StoreError | None:
        with self._gate.shared:
            full = self._store.disk_is_full()
        return NoSpace(f"the disk has no room for {what}") if full else None

    @property
    def is_nearly_full(self) -> bool:
        """Whether what compaction could remove is needed: nine tenths of the quota are in use, or the disk is full."""
        with self._gate.shared:
            return self._store.in_use_bytes() * 10 > self._quota_bytes * 9 or self._store.disk_is_full()

    def write_limits(self, incoming_bytes: int = 0) -> WriteLimits:
        """Returns the limits a leader must put into each write batch it proposes, so that all replicas decide alike.

        ``incoming_bytes`` is what the batch will add: above the quota, or on a full disk, only requests that add
        nothing will be carried out.
        """
        with self._gate.shared:
            full = self._store.in_use_bytes() + incoming_bytes > self._quota_bytes or self._store.disk_is_full()
        limits = WriteLimits(no_space=full)
        limits.MergeFrom(self._limits)
        return limits

    # ------------------------------------------------------------------------------------------ reads

    def _reading(self) -> _Reading:
        """A reader and the position that belongs to what it sees, whatever is applied meanwhile."""
        return _Reading(self)

    def range(self, request: RangeRequest) -> RangeResponse:
        """Serves a Range from what is applied here, the header left empty. Callable from any thread.

        Raises EmptyKey, InvalidSort, Compacted or FutureRevision.
        """
        with self._reading() as (reader, position):
            return read_range(reader, request, position.revision, position.compact_revision)

    def encoded_range(
        self, request: RangeRequest, header: ResponseHeader, pace: Callable[[], None] = lambda: None
    ) -> bytes:
        """As :meth:`range`, with the header, as it goes over the wire: for large ranges, in a thread.

        ``pace`` is called before each step, and may wait. Also raises AnswerTooLarge, and ReadInterruptedError where
        the map is needed alone, which the event loop must not wait for.
        """

        def step() -> None:
            pace()
            self._gate.give_way()

        with self._reading() as (reader, position):
            view = view_of(reader, request, position.revision, position.compact_revision, position.generation)
            return encode_range(view, request, header, self._counts, step)

    async def hash_kv(self, revision: int) -> HashResult:
        """Hashes the keys as they were at ``revision`` (0: the newest), see :func:`hash_kv.hash_kv`.

        Raises FutureRevision, or Compacted (also when compaction passes the revision meanwhile, or a snapshot takes
        the place of the data).
        """
        return await hash_kv(self._reading, revision)

    def rows_after(self, revision: int, *, max_bytes: int, max_rows: int, newest: int | None = None) -> stream.RowBatch:
        """Returns rows for another region, up to ``newest`` if given, see :func:`stream.rows_after`.

        Raises Compacted or FutureRevision. Callable from any thread.
        """
        with self._reading() as (reader, position):
            return stream.rows_after(
                reader,
                self._store.load_region(reader.transaction, self._region).history,
                revision=revision,
                newest=position.revision if newest is None else min(newest, position.revision),
                compact_revision=self._holds.floor(position),
                max_bytes=max_bytes,
                max_rows=max_rows,
            )

    def snapshot_after(
        self, after_key: bytes, revision: int, *, max_bytes: int, max_rows: int
    ) -> snapshot.SnapshotRows:
        """Returns keys as they were at ``revision``, for another region, see :func:`snapshot.read_chunk`.

        Raises Compacted or FutureRevision. Callable from any thread.
        """
        with self._reading() as (reader, position):
            # A compaction where an epoch has begun behind a jump leaves the last revision before as it was.
            floor = settled(self._state.history, self._holds.floor(position))
            check_revision(revision, position.revision, floor)
            return snapshot.read_chunk(reader, revision, after_key, max_bytes=max_bytes, max_rows=max_rows)

    def exported(self, revision: int) -> export.Exported:
        """Returns what an export of the data at a revision begins with."""
        return export.Exported(revision, self.compact_revision, self.data_id, self._state.history)

    def export_part(self, of: export.Exported, start: tuple[int, int], pace: Callable[[], None]) -> export.ExportPart:
        """Returns rows as etcd has them, see :func:`export.read_part`; what they are read from has to be held.

        ``pace`` is called first. Raises Compacted when other data has taken the place of what is exported, and
        ReadInterruptedError when it is to be called again. Callable from any thread.
        """
        with self._exporting(of, pace) as reader:
            return export.read_part(reader, start, of.revision, of.compact_revision)

    def export_leases(
        self, of: export.Exported, after: int | None, pace: Callable[[], None]
    ) -> tuple[list[tuple[bytes, bytes]], int | None]:
        """Returns leases as etcd has them, see :func:`export.read_leases`; otherwise as :meth:`export_part`."""
        with self._exporting(of, pace) as reader:
            return export.read_leases(reader, after, of.revision)

    @contextmanager
    def _exporting(self, of: export.Exported, pace: Callable[[], None]) -> Iterator[Reader]:
        with self._reading() as (reader, position):
            pace()
            self._gate.give_way()
            if self._restores << 32 | position.generation != of.data_id or reader.history() != of.history:
                raise Compacted("other data has taken the place of what was being read")
            yield reader

    def hold(self, revision: int) -> Hold:
        """Keeps what :meth:`rows_after` and :meth:`snapshot_after` need from ``revision`` on, until it is released.

        Raises Compacted when some of it has been removed.
        """
        if revision < settled(self._state.history, self._position.swept_revision):
            raise Compacted(f"revision {revision} is gone, {self._position.swept_revision} is left")
        return self._holds.take(revision)

    @property
    def whole_from(self) -> int:
        """The first revision from which on a watch may begin: no row of it, or of one above it, is compacted."""
        return reader.whole_from(self._position, self._position.compact_revision)

    @property
    def data_id(self) -> int:
        """Says which data is here: another number once a checkpoint or a snapshot has taken its place."""
        return self._restores << 32 | self._position.generation

    def changes(
        self,
        start: tuple[int, int],
        end: int,
        match: reader.Match[T],
        *,
        max_rows: int,
        max_bytes: int,
        max_previous_bytes: int,
    ) -> reader.Part[T]:
        """Returns rows for watchers, see :func:`watch.reader.read_part`."""
        with self._reading() as (rows, position):
            return reader.read_part(
                rows,
                position,
                data_id=self._restores << 32 | position.generation,
                floor=self._holds.floor(position),
                start=start,
                end=end,
                match=match,
                max_rows=max_rows,
                max_bytes=max_bytes,
                max_previous_bytes=max_previous_bytes,
            )

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Calls back with the new revision after each apply (or restore) that changed it; returns how to stop that.

        A subscriber that follows the revisions one by one finds them gone where a snapshot has taken the place of the
        data: ``compact_revision`` is then the new revision, and what was being followed was compacted.

        Subscribed on an event loop, it is called on that loop, wherever the change was made.
        """
        return self._revision_changes.add(callback)

    def subscribe_state(self, callback: Callable[[RegionState], None]) -> Callable[[], None]:
        """As :meth:`subscribe`, after each change of the region's state."""
        return self._state_changes.add(callback)

    def subscribe_leases(self, callback: Callable[[Mapping[int, Lease | None]], None]) -> Callable[[], None]:
        """As :meth:`subscribe`, after each apply that granted or revoked leases, with those; None stands for one that
        is gone. Not after leases came or went with rows of another region, a rewind or a restore.
        """
        return self._lease_changes.add(callback)

    def leases(self, after: int | None, limit: int) -> tuple[list[Lease], int | None]:
        """Returns some of the leases that there are, see :func:`leases.present`."""
        with self._reading() as (reader, _position):
            return leases.present(reader.store, reader.transaction, after, limit)

    @property
    def amid_deletion(self) -> bool:
        """Whether a deletion has been applied in part: its keys are attached to no lease any more, and still there."""
        return self._unfinished_index != 0

    def lease_keys(self, lease: int) -> list[bytes]:
        """Returns the keys that are attached to a lease, in order; see :attr:`amid_deletion`."""
        with self._reading() as (reader, _position):
            return leases.keys_of(reader.store, reader.transaction, lease)

    def count_lease_keys(self, lease: int) -> int:
        """Returns how many keys are attached to a lease."""
        with self._reading() as (reader, _position):
            return leases.count_keys(reader.store, reader.transaction, lease)

    @property
    def auth(self) -> AuthState:
        """Whether etcd's auth is on; the same object as long as no user or role has changed."""
        return self._auth

    def read_auth(self, read: Callable[[AuthRecords], T], revision: int | None = None) -> T:
        """Returns what ``read`` makes of the users and roles that there are, or were at ``revision``, which is not
        compacted.
        """
        with self._reading() as (reader, _position):
            return read(AuthRecords(reader.store, reader.transaction, reader.bound if revision is None else revision))

    def _auth_at(self, transaction: Transaction, position: Position, before: AuthState) -> AuthState:
        store = self._store.at_generation(position.generation)
        if transaction.get(SWITCH_KEY, db=store.auth) is None:
            return UNTOUCHED
        revision = position.revision if hides_rows(store, transaction) else None
        return AuthRecords(store, transaction, revision).state(before)

    # ------------------------------------------------------------------------------------------ applying

    def apply(self, index: int, term: int, entry: bytes) -> object:
        """Applies a log entry. At or below ``applied_index`` nothing happens and None is returned.

        A large deletion is applied in steps, and so is a write whose ranges pass over very many keys: while
        ``applied_index`` is below ``index`` afterwards, nothing of it is visible, None was returned, and the same entry
        is to be applied again before any other.

        Returns, by command: write: a list with one response or StoreError per request; rows: the new revision or Gap,
        StaleEpoch, InvalidRequest, NotBootstrapped, NotReady; promise: (epoch, revision); promotion: the epoch's
        first revision or Behind, StaleEpoch, WrongStore, NotBootstrapped, InvalidRequest, NotReady; rewind, rewind
        step: the revision after it, the ``Leaving`` where steps have to follow, or Compacted, StaleEpoch,
        NotBootstrapped, InvalidRequest, NoSpace; drop of a tail: whether there was one; bootstrap: None or
        WrongStore, InvalidRequest;
        compaction: None or Compacted, FutureRevision, NotReady; topology, noop, an empty entry: None.
        Raises ApplyBug, UnknownCommandError or StorageFailed; and OSError when the disk has no room: nothing of the
        entry is applied then, and it may be applied later.
        """
        if index <= self._position.applied_index:
            return None
        if self._unfinished_index not in (0, index):
            raise StorageFailed(f"entry {index} cannot be applied, entry {self._unfinished_index} is not finished")
        try:
            with self._lock:
                outcome = self._commit(index, term, entry)
        except SliceEndedError:
            return None
        except (StorageFailed, ApplyBug, OSError):
            raise
        except UnknownCommandError as error:
            raise UnknownCommandError(f"entry {index} of term {term} holds {error}") from None
        except lmdb.Error as error:
            if may_be_full(error):
                raise OSError(errno.ENOSPC, f"entry {index} cannot be written: {error}") from error
            raise StorageFailed(f"entry {index} cannot be written: {error}") from error
        except Exception as error:
            raise ApplyBug(f"entry {index} of term {term} cannot be applied: {error!r}") from error
        self._unfinished_index = 0 if outcome.finished else index
        if outcome.finished:
            self._publish(outcome.position, outcome.state)
        if outcome.leases:
            self._lease_changes.tell(outcome.leases)
        self._tidy_up_later()
        return outcome.answer

    def _commit(self, index: int, term: int, entry: bytes) -> Outcome:
        def work(transaction: Transaction) -> tuple[Outcome, staging.Staged | None, AuthState]:
            outcome = self._outcome(transaction, index, entry)
            if not outcome.finished:
                return outcome, self._staged, self._auth
            position = msgspec.structs.replace(outcome.position, applied_index=index, applied_term=term)
            self._store.save_position(transaction, position)
            if outcome.state != self._state:
                self._store.save_region(transaction, outcome.state)
            staged = None
            if position.newest_generation > position.generation:
                staged = staging.load(self._store, transaction)
            auth = self._auth_at(transaction, position, self._auth)
            return msgspec.structs.replace(outcome, position=position), staged, auth

        outcome, staged, self._auth = self._transact(work)
        self._walks.clear()
        if self._staged is not None and (staged is None or staged.generation != self._staged.generation):
            self._clearing = True
        self._staged = staged
        return outcome

    def _transact(self, work: Callable[[Transaction], T]) -> T:
        """Runs ``work`` in a write transaction, again from the start with a larger map where it did not fit."""
        for _ in range(MAX_GROWTHS):
            try:
                with self._store.write() as transaction:
                    done = work(transaction)
                    began = time.perf_counter()
                self._commit_took(time.perf_counter() - began)
                return done
            except lmdb.MapFullError:
                with self._gate.exclusive():
                    self._store.grow()
        raise StorageFailed("a transaction does not fit, however much the map grows")

    def _outcome(self, transaction: Transaction, index: int, entry: bytes) -> Outcome:
        position, before = self._position, self._state
        try:
            message = LogEntry.FromString(entry)
        except DecodeError:
            # Every replica has these bytes, so every replica answers the same.
            return Outcome(InvalidRequest("the entry cannot be decoded"), position, before)
        if not entry:
            return Outcome(None, position, before)
        command = self._commands.find(message)
        body = getattr(message, command.kind)
        place = Place(
            self._store,
            transaction,
            position,
            before,
            index,
            self._limits,
            self.quarantine,
            self._deletion_step_keys,
            self._walks,
        )
        self._walks.begin(index)
        try:
            outcome = command.apply(place, body)
        except (lmdb.Error, StorageFailed, OSError, SliceEndedError):
            raise
        except Exception as error:
            raise ApplyBug(f"entry {index} cannot be applied, {command.describe(body)}: {error!r}") from error
        if outcome.state != before and Mutates.REGION not in command.mutates:
            raise ApplyBug(f"entry {index}, {command.describe(body)}, has changed the region's state")
        if not outcome.finished:
            return outcome
        # Every replica that is to apply the log knows the kind by now.
        state = knowing(outcome.state, command.level)
        return outcome if state is outcome.state else msgspec.structs.replace(outcome, state=state)

    def _publish(self, position: Position, state: RegionState) -> None:
        before, before_state = self._position, self._state
        self._position, self._state = position, state
        self._store = self._store.at_generation(position.generation)
        if position.generation != before.generation:
            self._holds.clear()
        if position.revision < before.revision:
            self._counts.clear()
        if position.revision != before.revision:
            self._revision_changes.tell(position.revision)
        if state != before_state:
            self._state_changes.tell(state)

    # ------------------------------------------------------------------------------------------ tidying up

    def compact_step(self, max_rows: int = compaction.DEFAULT_STEP_ROWS) -> bool:
        """Removes some of what compaction has superseded; returns whether more is left.

        Called by the machine itself, between applies. Readers see no difference.
        """
        with self._lock:
            limit = self._holds.floor(self._position)
            if self._closed or not compaction.pending(self._position, limit):
                return False

            def work(transaction: Transaction) -> Position:
                position = compaction.sweep(self._store, transaction, self._position, limit, max_rows)
                self._store.save_position(transaction, position)
                return position

            position = self._transact(work)
            self._position = position
            return compaction.pending(position, limit)

    def clear_step(self, max_entries: int = CLEAR_STEP_ENTRIES) -> bool:
        """As :meth:`compact_step`, for generations of the data that nobody uses any more."""
        with self._lock:
            if self._closed or not self._clearing:
                return False
            in_use = self._position.generation
            self._clearing = self._transact(
                lambda transaction: staging.clear_some(self._store, transaction, in_use, max_entries)
            )
            return self._clearing

    def _tidy_up_later(self) -> None:
        if self._clearing or compaction.pending(self._position, self._holds.floor(self._position)):
            self._background.wake(COMPACTION_PAUSE_SECONDS)

    def _tidy_up(self) -> float | None:
        behind = self._holds.floor(self._position) - self._position.swept_revision > BEHIND_REVISIONS
        try:
            more = self.compact_step(BEHIND_STEP_ROWS if behind else compaction.DEFAULT_STEP_ROWS)
            more = self.clear_step() or more
        except lmdb.Error as error:
            if not may_be_full(error):
                raise
            return None  # goes on with the next apply
        if not more:
            return None
        return BEHIND_PAUSE_SECONDS if behind else COMPACTION_PAUSE_SECONDS

    def rewind(self, revision: int) -> None:
        """Undoes every revision above ``revision``, and the epochs that began above it. For the rejoin of a region.

        Not a command of the log by itself, and nothing goes to quarantine. Raises Compacted or FutureRevision.
        """

        def work(transaction: Transaction) -> tuple[Position, RegionState, AuthState]:
            position = rewind(self._store, transaction, self._position, revision)
            deleted_ranges.forget_above(self._store, transaction, revision)
            kept = without_epochs_above(self._state, revision)
            RequestMemory(self._store, transaction, position.applied_index).forget_all(self._position.revision)
            self._store.save_position(transaction, position)
            self._store.save_region(transaction, kept)
            return position, kept, self._auth_at(transaction, position, self._auth)

        with self._lock:
            position, state, self._auth = self._transact(work)
            self._walks.clear()
        self._publish(position, state)

    # ------------------------------------------------------------------------------------------ checkpoints

    def checkpoint(self, directory: Path) -> None:
        """Writes a consistent copy to ``directory`` (absent or empty) and syncs it; runs in a thread while applies go
        on.

        Raises StorageFailed; the directory is then to be thrown away.
        """
        with self._gate.shared:
            checkpoint.write_checkpoint(self._store, directory)
        self.quarantine.sync()

    def restore(self, directory: Path) -> None:
        """Replaces the live state by a checkpoint's, atomically; the checkpoint stays as it is.

        Raises StorageFailed when the checkpoint is damaged or the disk fails; a damaged one leaves the live state
        alone.
        """
        checkpoint.stage(self._path, directory)
        with self._lock, self._gate.exclusive():
            self._restores += 1
            before, before_state = self._position, self._state
            self._store.close()
            self._load()
            self._walks.clear()
            self._holds.clear()
            position, state = self._position, self._state
            self._position, self._state = before, before_state
        self._publish(position, state)
