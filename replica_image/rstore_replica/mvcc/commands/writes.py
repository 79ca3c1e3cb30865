"""Commands that come from clients of this region: batches of writes, and compactions."""

from __future__ import annotations

from functools import partial

import msgspec
from rstore_api import rows
from rstore_api.domain.limits import MAX_KEY_BYTES, SHORT_KEY_BYTES
from rstore_api.errors import StoreError
from rstore_api.proto.rstore_pb2 import Compaction, WriteBatch

from rstore_replica.mvcc import state
from rstore_replica.mvcc.commands.command import Command, Mutates, Place
from rstore_replica.mvcc.data import auth, compaction, leases
from rstore_replica.mvcc.data.outcome import Outcome
from rstore_replica.mvcc.data.writer import Writer
from rstore_replica.mvcc.requests.dedup import RequestMemory
from rstore_replica.mvcc.requests.txn import execute_all
from rstore_replica.mvcc.requests.validate import AUTH_KINDS, LEASE_KINDS
from rstore_replica.mvcc.tails import rules


def _write(
    place: Place,
    batch: WriteBatch,
    *,
    allowed: frozenset[str] = frozenset(),
    max_key_bytes: int = SHORT_KEY_BYTES,
) -> Outcome:
    position, region = place.position, place.region
    refusal = state.refusal_of_writes(region, batch.epoch)
    if refusal is not None:
        return place.unchanged([refusal] * len(batch.requests))
    limits = batch.limits if batch.HasField("limits") else place.default_limits
    writer = Writer(place.store, place.transaction, position.revision, region.region, place.walks)
    memory = RequestMemory(place.store, place.transaction, place.index)
    answers = execute_all(
        writer,
        batch.requests,
        limits,
        position.compact_revision,
        memory,
        allowed=allowed,
        max_key_bytes=max_key_bytes,
    )
    writer.flush()
    position = msgspec.structs.replace(position, revision=writer.revision)
    return Outcome(answers, position, region, leases=writer.lease_changes)


def _compact(place: Place, command: Compaction) -> Outcome:
    refusal = rules.refusal_of_compaction(place.region)
    compacted = refusal or compaction.compact(place.position, command.revision)
    if isinstance(compacted, StoreError):
        return place.unchanged(compacted)
    return Outcome(None, compacted, place.region)


COMMANDS = (
    Command(
        "write", Mutates.DATA, _write, lambda batch: f"{len(batch.requests)} requests to write in epoch {batch.epoch}"
    ),
    Command(
        "lease_write",
        Mutates.DATA,
        partial(_write, allowed=LEASE_KINDS),
        lambda batch: f"{len(batch.requests)} requests about leases in epoch {batch.epoch}",
        level=leases.FEATURE_LEVEL,
    ),
    Command(
        "auth_write",
        Mutates.DATA,
        partial(_write, allowed=AUTH_KINDS),
        lambda batch: f"{len(batch.requests)} changes of users and roles in epoch {batch.epoch}",
        level=auth.FEATURE_LEVEL,
    ),
    Command(
        "long_key_write",
        Mutates.DATA,
        partial(_write, max_key_bytes=MAX_KEY_BYTES),
        lambda batch: f"{len(batch.requests)} requests with long keys in epoch {batch.epoch}",
        level=rows.LONG_KEYS_LEVEL,
    ),
    Command("compaction", Mutates.DATA, _compact, lambda command: f"a compaction to revision {command.revision}"),
)
