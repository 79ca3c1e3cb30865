"""One command of the log: what it changes and what it is answered with."""

from __future__ import annotations

import msgspec
from rstore_api.errors import InvalidRequest, StoreError
from rstore_api.messages import topology_of
from rstore_api.proto.rstore_pb2 import LogEntry, StreamBatch, WriteBatch, WriteLimits

from rstore_replica.mvcc import state
from rstore_replica.mvcc.data import compaction
from rstore_replica.mvcc.data.store import Position, Store, Transaction
from rstore_replica.mvcc.data.writer import Writer
from rstore_replica.mvcc.requests.dedup import RequestMemory
from rstore_replica.mvcc.requests.txn import execute_all
from rstore_replica.mvcc.state import RegionState
from rstore_replica.mvcc.tails import leaving
from rstore_replica.mvcc.tails.leave import Leave, discard_unfinished
from rstore_replica.mvcc.tails.quarantine import Quarantine
from rstore_replica.mvcc.transfer import install, stream


class Outcome(msgspec.Struct, frozen=True):
    """The answer, and position and region state after the command."""

    answer: object
    position: Position
    state: RegionState

    def at(self, index: int, term: int, before: RegionState) -> Outcome:
        """The same, with the entry's place in the log recorded, and the very state ``before`` when nothing changed
        it.
        """
        position = msgspec.structs.replace(self.position, applied_index=index, applied_term=term)
        unchanged = self.state is before or self.state == before
        return Outcome(self.answer, position, before if unchanged else self.state)


def apply_command(
    store: Store,
    transaction: Transaction,
    position: Position,
    region: RegionState,
    command: LogEntry,
    default_limits: WriteLimits,
    index: int,
    files: Quarantine,
) -> Outcome | None:
    """Applies one command in ``transaction``; None when this version does not know it.

    ``index`` is the entry's place in the log; ``default_limits`` count only for write batches that name none; a tail
    that is left goes to ``files``.
    """
    kind = command.WhichOneof("command")
    if kind == "write":
        return _write(store, transaction, position, region, command.write, default_limits, index)
    if kind == "rows":
        return _rows(store, transaction, position, region, command.rows.batch, files)
    if kind == "bootstrap":
        joined = state.bootstrap(region, command.bootstrap)
        if isinstance(joined, StoreError):
            return Outcome(joined, position, region)
        return Outcome(None, position, joined)
    if kind == "topology":
        return Outcome(None, position, state.with_topology(region, topology_of(command.topology)))
    if kind == "promise":
        return Outcome((region.epoch, position.revision), position, state.promise(region, command.promise.epoch))
    if kind == "promotion":
        refusal = leaving.refusal_while_undoing(region)
        promoted = refusal or state.promote(region, position.revision, command.promotion)
        if isinstance(promoted, StoreError):
            return Outcome(promoted, position, region)
        jumped = position
        if promoted[0] is not region:
            # What other regions were asked to do, and did, in the epochs before is not known here.
            RequestMemory(store, transaction, index).forget_all(position.revision)
            jumped = msgspec.structs.replace(position, revision=promoted[1] - 1)
            install.abandon(store, transaction, position)
        return Outcome(promoted[1], jumped, _staying(promoted[0], files))
    if kind == "compaction":
        compacted = leaving.refusal_of_compaction(region) or compaction.compact(position, command.compaction.revision)
        if isinstance(compacted, StoreError):
            return Outcome(compacted, position, region)
        return Outcome(None, compacted, region)
    if kind == "rewind":
        bounds = command.rewind
        leave = Leave(store, transaction, files, max_rows=bounds.max_rows, max_bytes=bounds.max_bytes)
        return Outcome(*leave.begin(position, region, command.rewind))
    if kind == "rewind_step":
        step = command.rewind_step
        leave = Leave(store, transaction, files, max_rows=step.max_rows, max_bytes=step.max_bytes)
        return Outcome(*leave.go_on(position, region))
    if kind == "snapshot":
        return Outcome(*install.install_step(store, transaction, position, region, command.snapshot, index))
    if kind == "drop_tail":
        return _drop_tail(position, region, command.drop_tail.file, files)
    if kind == "tenure_bound":
        return Outcome(
            None, position, msgspec.structs.replace(region, tenure_bound_ms=command.tenure_bound.duration_ms)
        )
    if kind == "noop":
        return Outcome(None, position, region)
    return None


def _write(
    store: Store,
    transaction: Transaction,
    position: Position,
    region: RegionState,
    batch: WriteBatch,
    default_limits: WriteLimits,
    index: int,
) -> Outcome:
    refusal = state.refusal_of_writes(region, batch.epoch)
    if refusal is not None:
        return Outcome([refusal] * len(batch.requests), position, region)
    limits = batch.limits if batch.HasField("limits") else default_limits
    writer = Writer(store, transaction, position.revision, region.region)
    memory = RequestMemory(store, transaction, index)
    answers = execute_all(writer, batch.requests, limits, position.compact_revision, memory)
    writer.flush()
    return Outcome(answers, msgspec.structs.replace(position, revision=writer.revision), region)


def _rows(
    store: Store,
    transaction: Transaction,
    position: Position,
    region: RegionState,
    batch: StreamBatch,
    files: Quarantine,
) -> Outcome:
    accepted = leaving.refusal_while_undoing(region) or state.accept_rows(region, position.revision, batch)
    if isinstance(accepted, StoreError):
        return Outcome(accepted, position, region)
    frames = stream.check_rows(batch)
    if isinstance(frames, StoreError):
        return Outcome(frames, position, region)
    writer = Writer(store, transaction, position.revision, region.region)
    writer.append_all(frames)
    writer.flush()
    install.abandon(store, transaction, position)
    position = msgspec.structs.replace(position, revision=batch.last_revision)
    wanted = min(batch.compact_revision, position.revision)
    if wanted > position.compact_revision:
        position = msgspec.structs.replace(position, compact_revision=wanted)
    return Outcome(position.revision, position, _staying(accepted, files))


def _staying(region: RegionState, files: Quarantine) -> RegionState:
    """The region keeps its revisions: what was exported of them is no tail."""
    discard_unfinished(files, region)
    return leaving.stayed(region)


def _drop_tail(position: Position, region: RegionState, file: str, files: Quarantine) -> Outcome:
    """Removes a tail from quarantine for good; a file of that name goes, too, where the region does not know it."""
    try:
        files.path(file)
    except ValueError as error:
        return Outcome(InvalidRequest(str(error)), position, region)
    if region.leaving is not None and region.leaving.header.file == file:
        return Outcome(InvalidRequest(f"{file} is being written"), position, region)
    files.discard(file)
    after = leaving.without_tail(region, file)
    return Outcome(after is not region, position, after)
