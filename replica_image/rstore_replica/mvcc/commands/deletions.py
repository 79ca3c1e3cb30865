"""Commands that delete a range of any size: as a client has asked for it, and as another region has done it."""

from __future__ import annotations

import msgspec
from rstore_api.domain.epochs import after_jumps
from rstore_api.errors import InvalidRequest, StoreError
from rstore_api.messages import history_of
from rstore_api.proto.rpc_pb2 import DeleteRangeResponse
from rstore_api.proto.rstore_pb2 import Deletion, ReplicatedRows, StreamBatch

from rstore_replica.mvcc import state
from rstore_replica.mvcc.commands.command import Command, Mutates, Place
from rstore_replica.mvcc.data.outcome import Outcome
from rstore_replica.mvcc.requests import validate
from rstore_replica.mvcc.requests.dedup import RequestMemory
from rstore_replica.mvcc.requests.deletion import Deleting
from rstore_replica.mvcc.tails import rules
from rstore_replica.mvcc.tails.steps import staying
from rstore_replica.mvcc.transfer import install

FEATURE_LEVEL = 2
"""Of the first version that deletes in steps."""


def _deleting(place: Place, revision: int) -> Deleting:
    return Deleting(
        place.store,
        place.transaction,
        place.position,
        index=place.index,
        revision=revision,
        step_keys=place.deletion_step_keys,
    )


def _delete(place: Place, command: Deletion) -> Outcome:
    position, request = place.position, command.request
    refusal = state.refusal_of_writes(place.region, command.epoch)
    if refusal is not None:
        return place.unchanged([refusal])
    deleting = _deleting(place, position.revision + 1)
    memory = RequestMemory(place.store, place.transaction, place.index)
    if not deleting.begun:
        try:
            validate.check_deletion(request)
        except StoreError as error:
            return place.unchanged([error.with_traceback(None)])
        if request.HasField("request_id"):
            before = memory.recall(request.request_id, position.revision)
            if before is not None:
                return place.unchanged([before])
    done = deleting.step(request.delete_range.key, request.delete_range.range_end)
    if done is None:
        return place.unfinished()
    if done.count:
        position = msgspec.structs.replace(position, revision=position.revision + 1)
    answer = DeleteRangeResponse(deleted=done.count)
    answer.header.revision = position.revision
    if done.count and request.HasField("request_id"):
        memory.remember(request.request_id, answer, position.revision)
    return Outcome([answer], position, place.region)


def _deleted_rows(place: Place, command: ReplicatedRows) -> Outcome:
    batch, position, region = command.batch, place.position, place.region
    accepted = rules.refusal_while_undoing(region) or state.accept_rows(region, position.revision, batch)
    if isinstance(accepted, StoreError):
        return place.unchanged(accepted)
    refusal = _refusal_of(batch)
    if refusal is not None:
        return place.unchanged(refusal)
    deleted = batch.deleted
    done = _deleting(place, deleted.revision).step(deleted.key, deleted.range_end, deleted)
    if done is None:
        return place.unfinished()
    if done.refused:
        return place.unchanged(
            InvalidRequest(
                f"revision {deleted.revision} deletes {deleted.count} keys with checksum {deleted.checksum:08x} at its "
                f"source, and here it would be {done.count} with {done.checksum:08x}: the regions hold different keys"
            )
        )
    install.abandon(place.store, place.transaction, position)
    compact_revision = max(position.compact_revision, min(batch.compact_revision, batch.last_revision))
    position = msgspec.structs.replace(position, revision=batch.last_revision, compact_revision=compact_revision)
    return Outcome(position.revision, position, staying(accepted, place.quarantine))


def _refusal_of(batch: StreamBatch) -> InvalidRequest | None:
    """Returns what is wrong with a batch that should hold the deletion of a range, and nothing else."""
    revision, before = batch.deleted.revision, batch.prev_revision
    if batch.rows or batch.row_count or not batch.deleted.key or not batch.deleted.count:
        return InvalidRequest("the batch of a deleted range holds rows, or no range")
    begin = after_jumps(history_of(batch.history), before) + 1
    if revision != batch.last_revision or revision not in (before + 1, begin):
        return InvalidRequest(f"the deletion of revision {revision} does not follow revision {before}")
    return None


COMMANDS = (
    Command(
        "deletion", Mutates.DATA, _delete, lambda command: f"a deletion in epoch {command.epoch}", level=FEATURE_LEVEL
    ),
    Command(
        "deleted_rows",
        Mutates.DATA | Mutates.REGION,
        _deleted_rows,
        lambda command: f"the deletion of revision {command.batch.last_revision}",
        level=FEATURE_LEVEL,
    ),
)
