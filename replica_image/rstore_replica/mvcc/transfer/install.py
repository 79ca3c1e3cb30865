"""A snapshot of another region comes in, entry by entry, and takes the place of the data with the last one.

Until then nothing of it is visible: its rows go to a generation of their own, and the region serves what it had. What
makes it visible is one small write, so that it takes the same time for every size; the generation before is removed
afterwards, in steps.
"""

from __future__ import annotations

import msgspec
from rstore_api import rows
from rstore_api.errors import Gap, StoreError
from rstore_api.proto.rstore_pb2 import ImportStep, SnapshotChunk, SnapshotStep

from rstore_replica.mvcc.data import deleted_ranges, generations
from rstore_replica.mvcc.data.layout import MASK32
from rstore_replica.mvcc.data.leases import all_present
from rstore_replica.mvcc.data.outcome import Outcome
from rstore_replica.mvcc.data.store import Position, Store, Transaction
from rstore_replica.mvcc.requests.dedup import RequestMemory
from rstore_replica.mvcc.state import RegionState, accept_snapshot, knowing, refusal_of_import
from rstore_replica.mvcc.tail_facts import Phase
from rstore_replica.mvcc.tails import rules
from rstore_replica.mvcc.transfer import snapshot, staging


def install_step(
    store: Store, transaction: Transaction, position: Position, region: RegionState, step: SnapshotStep, index: int
) -> Outcome:
    """Takes one chunk into the staging area; ``index`` is the entry's place in the log.

    A chunk goes on where the staged ones of the same snapshot end, or begins a snapshot anew. The answer is the last
    key that is staged, the revision once all is installed, or why not.
    """
    accepted = rules.refusal_while_undoing(region) or accept_snapshot(region, position.revision, step)
    if isinstance(accepted, StoreError):
        return Outcome(accepted, position, region)
    refusal = _refusal_of_unkept_tail(region, position, step)
    if refusal is not None:
        return Outcome(refusal, position, region)
    return _take(store, transaction, position, region, step.chunk, index, accepted=rules.replaced(accepted))


def import_step(
    store: Store, transaction: Transaction, position: Position, region: RegionState, step: ImportStep, index: int
) -> Outcome:
    """As :func:`install_step`, of data from elsewhere, into the primary region of a store without data. Each chunk but
    the last one may come again."""
    refusal = refusal_of_import(region, position.revision, step)
    if refusal is not None:
        return Outcome(refusal, position, region)
    chunk, staged = step.chunk, staging.load(store, transaction)
    goes_on = chunk.after_key and not chunk.last
    if goes_on and staged is not None and staged.is_of(chunk) and staged.last_key == chunk.last_key:
        return Outcome(chunk.last_key, position, region)  # it came before, and its answer was lost
    return _take(store, transaction, position, region, chunk, index, accepted=region, revision_jump=step.revision_jump)


def _take(
    store: Store,
    transaction: Transaction,
    position: Position,
    region: RegionState,
    chunk: SnapshotChunk,
    index: int,
    *,
    accepted: RegionState,
    revision_jump: int = 0,
) -> Outcome:
    """``accepted`` is the region's state once all is installed, at ``revision_jump`` above the chunk's revision."""
    frames = snapshot.check_chunk(chunk)
    if isinstance(frames, StoreError):
        return Outcome(frames, position, region)
    staged = staging.load(store, transaction)
    if not chunk.after_key:
        position, staged = _begin(store, transaction, position, chunk)
    elif staged is None or not staged.is_of(chunk) or staged.last_key != chunk.after_key:
        return Outcome(Gap("the chunk does not follow what is staged"), position, region)
    level = rows.required_level(frames)
    region, accepted = knowing(region, level), knowing(accepted, level)
    of_staged = store.at_generation(staged.generation)
    snapshot.write_chunk(of_staged, transaction, frames)
    if not chunk.last:
        staged = msgspec.structs.replace(
            staged,
            last_key=chunk.last_key,
            rows=staged.rows + len(frames),
            size_bytes=staged.size_bytes + len(chunk.rows),
        )
        staging.save(store, transaction, staged)
        return Outcome(chunk.last_key, position, region)
    staging.forget(store, transaction)
    deleted_ranges.forget_above(store, transaction, 0)
    # What other regions were asked to do, and did, is not known here.
    RequestMemory(store, transaction, index).forget_all(max(position.revision, chunk.revision))
    revision = chunk.revision + revision_jump
    position = msgspec.structs.replace(
        position,
        revision=revision,
        compact_revision=revision,
        swept_revision=revision,
        swept_sub=MASK32,
        generation=staged.generation,
    )
    return Outcome(revision, position, accepted, leases=all_present(of_staged, transaction))


def abandon(store: Store, transaction: Transaction, position: Position) -> None:
    """The region goes on from what it has: what is staged of a snapshot is of no use any more."""
    if position.newest_generation > position.generation:
        staging.forget(store, transaction)


def _begin(
    store: Store, transaction: Transaction, position: Position, chunk: SnapshotChunk
) -> tuple[Position, staging.Staged]:
    generation = generations.next_generation(position.generation, position.newest_generation)
    staging.empty(store, transaction, generation)
    store_id, history, revision = staging.identity(chunk)
    return (
        msgspec.structs.replace(position, newest_generation=generation),
        staging.Staged(store_id, history, revision, generation),
    )


def _refusal_of_unkept_tail(region: RegionState, position: Position, step: SnapshotStep) -> StoreError | None:
    """What the snapshot's history does not have must be in quarantine before anything takes its place."""
    if position.revision <= step.fork_revision:
        return None
    leaving = region.leaving
    if leaving is None or leaving.phase is not Phase.EXPORTED or leaving.header.fork_revision != step.fork_revision:
        return Gap(f"revisions above {step.fork_revision} are not in quarantine yet")
    return None
