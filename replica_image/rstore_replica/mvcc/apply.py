"""One command of the log: what it changes and what it is answered with."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rstore_api.errors import Compacted, StoreError
from rstore_api.proto.rstore_pb2 import LogEntry, Rewind, StreamBatch, WriteBatch, WriteLimits

from rstore_replica.mvcc import compaction, quarantine, state, stream
from rstore_replica.mvcc.dedup import RequestMemory
from rstore_replica.mvcc.epochs import settled
from rstore_replica.mvcc.layout import MASK32
from rstore_replica.mvcc.rewind import rewind
from rstore_replica.mvcc.state import RegionState
from rstore_replica.mvcc.store import Position, Store, Transaction
from rstore_replica.mvcc.tails import Tail
from rstore_replica.mvcc.txn import execute_all
from rstore_replica.mvcc.writer import Writer


class Outcome(msgspec.Struct, frozen=True):
    """The answer, and position and region state after the command."""

    answer: object
    position: Position
    state: RegionState
    tail: Tail | None = None
    """What went to quarantine."""

    def at(self, index: int, term: int, before: RegionState) -> Outcome:
        """The same, with the entry's place in the log recorded, and the very state ``before`` when nothing changed
        it.
        """
        position = msgspec.structs.replace(self.position, applied_index=index, applied_term=term)
        unchanged = self.state is before or self.state == before
        return Outcome(self.answer, position, before if unchanged else self.state, self.tail)


def apply_command(
    store: Store,
    transaction: Transaction,
    position: Position,
    region: RegionState,
    command: LogEntry,
    default_limits: WriteLimits,
    index: int,
    quarantine_directory: Path,
) -> Outcome | None:
    """Applies one command in ``transaction``; None when this version does not know it.

    ``index`` is the entry's place in the log; ``default_limits`` count only for write batches that name none; a tail
    that is left goes to ``quarantine_directory``.
    """
    kind = command.WhichOneof("command")
    if kind == "write":
        return _write(store, transaction, position, region, command.write, default_limits, index)
    if kind == "rows":
        return _rows(store, transaction, position, region, command.rows.batch)
    if kind == "bootstrap":
        joined = state.bootstrap(region, command.bootstrap)
        if isinstance(joined, StoreError):
            return Outcome(joined, position, region)
        return Outcome(None, position, joined)
    if kind == "topology":
        return Outcome(None, position, state.with_topology(region, command.topology))
    if kind == "promise":
        return Outcome((region.epoch, position.revision), position, state.promise(region, command.promise.epoch))
    if kind == "promotion":
        promoted = state.promote(region, position.revision, command.promotion)
        if isinstance(promoted, StoreError):
            return Outcome(promoted, position, region)
        jumped = position
        if promoted[0] is not region:
            # What other regions were asked to do, and did, in the epochs before is not known here.
            RequestMemory(store, transaction, index).forget_all(position.revision)
            jumped = msgspec.structs.replace(position, revision=promoted[1] - 1)
        return Outcome(promoted[1], jumped, promoted[0])
    if kind == "compaction":
        compacted = compaction.compact(position, command.compaction.revision)
        if isinstance(compacted, StoreError):
            return Outcome(compacted, position, region)
        return Outcome(None, compacted, region)
    if kind == "rewind":
        return leave_tail(store, transaction, position, region, command.rewind, quarantine_directory)
    if kind == "noop":
        return Outcome(None, position, region)
    return None


def leave_tail(
    store: Store, transaction: Transaction, position: Position, region: RegionState, command: Rewind, directory: Path
) -> Outcome:
    """Exports what is above the fork and removes it. Answers the revision, or Compacted when the fork is gone."""
    accepted = state.accept_rewind(region, position.revision, command)
    if isinstance(accepted, StoreError) or accepted is region:
        answer = accepted if isinstance(accepted, StoreError) else position.revision
        return Outcome(answer, position, region)
    compacted = settled(region.history, position.compact_revision)
    if command.fork_revision < compacted:
        return Outcome(
            Compacted(f"the fork is at {command.fork_revision}, the compaction at {compacted}"), position, region
        )
    tail = quarantine.export(
        store,
        transaction,
        directory,
        store_id=region.store_id,
        region=region.region,
        history=region.history,
        fork_revision=command.fork_revision,
        replaced_by_epoch=command.epoch,
    )
    swept = min((position.swept_revision, position.swept_sub), (compacted, MASK32))
    position = msgspec.structs.replace(
        position, compact_revision=compacted, swept_revision=swept[0], swept_sub=swept[1]
    )
    position = rewind(store, transaction, position, command.fork_revision)
    return Outcome(position.revision, position, accepted, tail)


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
    writer = Writer(store, transaction, position.revision)
    memory = RequestMemory(store, transaction, index)
    answers = execute_all(writer, batch.requests, limits, position.compact_revision, memory)
    writer.flush()
    return Outcome(answers, msgspec.structs.replace(position, revision=writer.revision), region)


def _rows(
    store: Store, transaction: Transaction, position: Position, region: RegionState, batch: StreamBatch
) -> Outcome:
    accepted = state.accept_rows(region, position.revision, batch)
    if isinstance(accepted, StoreError):
        return Outcome(accepted, position, region)
    unpacked = stream.check_rows(batch)
    if isinstance(unpacked, StoreError):
        return Outcome(unpacked, position, region)
    writer = Writer(store, transaction, position.revision)
    stream.write_rows(writer, unpacked)
    writer.flush()
    position = msgspec.structs.replace(position, revision=batch.last_revision)
    wanted = min(batch.compact_revision, position.revision)
    if wanted > position.compact_revision:
        position = msgspec.structs.replace(position, compact_revision=wanted)
    return Outcome(position.revision, position, accepted)
