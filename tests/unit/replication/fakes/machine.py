"""A machine without a database, for the tests of replication."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from rstore_api import errors
from rstore_api.domain.epochs import BASE_REVISION
from rstore_api.messages import topology_of
from rstore_api.proto import rpc_pb2
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.mvcc import state as rules
from rstore_replica.mvcc.tail_facts import Tail


@dataclass(frozen=True)
class Rows:
    """See ``ports.RowBatchView``."""

    first_revision: int
    last_revision: int
    count: int
    packed: bytes
    deleted: None = None


@dataclass
class FakeHold:
    """Compaction does not wait for it."""

    revision: int

    def move(self, revision: int) -> None:
        self.revision = max(self.revision, revision)

    def release(self) -> None:
        """Nothing to do."""


class FakeMachine:
    """Decides like the real one (its rules are used), but keeps values in a dictionary: revision → value."""

    def __init__(self, region: str) -> None:
        self.state = rules.RegionState(region)
        self.revision = BASE_REVISION
        self.compact_revision = 0
        self.applied_index = 0
        self.db_size_bytes = 0
        self.values: dict[int, bytes] = {}
        self.tails: list[dict[int, bytes]] = []
        self.reads = 0
        self._callbacks: list[Callable[[int], None]] = []
        self._state_callbacks: list[Callable[[rules.RegionState], None]] = []

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def subscribe_state(self, callback: Callable[[rules.RegionState], None]) -> Callable[[], None]:
        self._state_callbacks.append(callback)
        return lambda: self._state_callbacks.remove(callback)

    def rows_after(self, revision: int, *, max_bytes: int, max_rows: int) -> Rows:
        self.reads += 1
        if revision < self.compact_revision:
            raise errors.Compacted
        starts = [start.first_revision for start in self.state.history if start.first_revision > revision + 1]
        end = min([*starts, self.revision + 1])
        taken: list[bytes] = []
        size = 0
        for number in range(revision + 1, end):
            value = self.values[number]
            if taken and (size + len(value) > max_bytes or len(taken) >= max_rows):
                break
            taken.append(value)
            size += len(value)
        return Rows(revision + 1, revision + len(taken), len(taken), b"\n".join(taken))

    def apply(self, index: int, _term: int, entry: bytes) -> object:
        assert index == self.applied_index + 1
        self.applied_index = index
        before, state = self.revision, self.state
        command = pb.LogEntry.FromString(entry)
        result = getattr(self, "_" + str(command.WhichOneof("command")))(command)
        if self.revision != before:
            for callback in list(self._callbacks):
                callback(self.revision)
        if self.state is not state:
            for state_callback in list(self._state_callbacks):
                state_callback(self.state)
        return result

    def _adopt(self, outcome: rules.RegionState | errors.StoreError) -> errors.StoreError | None:
        if isinstance(outcome, errors.StoreError):
            return outcome
        self.state = outcome
        return None

    def _write(self, command: pb.LogEntry) -> object:
        refusal = rules.refusal_of_writes(self.state, command.write.epoch)
        if refusal is not None:
            return [refusal for _ in command.write.requests]
        answers = []
        for request in command.write.requests:
            self.revision += 1
            self.values[self.revision] = request.put.value
            answers.append(rpc_pb2.PutResponse(header=rpc_pb2.ResponseHeader(revision=self.revision)))
        return answers

    def _rows(self, command: pb.LogEntry) -> object:
        batch = command.rows.batch
        outcome = rules.accept_rows(self.state, self.revision, batch)
        if isinstance(outcome, errors.StoreError):
            return outcome
        values = batch.rows.split(b"\n") if batch.row_count else []
        assert len(values) == batch.row_count == batch.last_revision - batch.prev_revision
        self.state = outcome
        for value in values:
            self.revision += 1
            self.values[self.revision] = value
        return self.revision

    quarantined: tuple[Tail, ...] = ()
    staged: None = None

    def hold(self, revision: int) -> FakeHold:
        if revision < self.compact_revision:
            raise errors.Compacted
        return FakeHold(revision)

    def snapshot_after(self, after_key: bytes, revision: int, *, max_bytes: int, max_rows: int) -> Any:
        """Snapshots are tested with real machines."""
        del after_key, revision, max_bytes, max_rows
        raise errors.Compacted("there are no snapshots here")

    def refusal_of_rewind(self, fork_revision: int) -> errors.StoreError | None:
        return errors.Compacted("the fork is gone") if fork_revision < self.compact_revision else None

    def refusal_of_export(self) -> errors.StoreError | None:
        return None

    def refusal_of_staging(self) -> errors.StoreError | None:
        return None

    is_nearly_full = False

    def _rewind(self, command: pb.LogEntry) -> object:
        outcome = rules.accept_rewind(self.state, self.revision, command.rewind)
        if outcome is None or isinstance(outcome, errors.StoreError):
            return self.revision if outcome is None else outcome
        self.state, self.revision = outcome, command.rewind.fork_revision
        self.tails.append({key: value for key, value in self.values.items() if key > self.revision})
        self.values = {key: value for key, value in self.values.items() if key <= self.revision}
        return self.revision

    def _bootstrap(self, command: pb.LogEntry) -> object:
        return self._adopt(rules.bootstrap(self.state, command.bootstrap))

    def _topology(self, command: pb.LogEntry) -> object:
        return self._adopt(rules.with_topology(self.state, topology_of(command.topology)))

    def _tenure_bound(self, command: pb.LogEntry) -> object:
        self.state = msgspec.structs.replace(self.state, tenure_bound_ms=command.tenure_bound.duration_ms)
        return None

    def _promise(self, command: pb.LogEntry) -> object:
        self._adopt(rules.promise(self.state, command.promise.epoch))
        return self.state.promised_epoch, self.revision

    def _promotion(self, command: pb.LogEntry) -> object:
        outcome = rules.promote(self.state, self.revision, command.promotion)
        if isinstance(outcome, errors.StoreError):
            return outcome
        self.state = outcome[0]
        return outcome[1]
