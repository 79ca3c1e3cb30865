"""Commands that bring in what another region has: rows of its stream, and chunks of a snapshot."""

from __future__ import annotations

import msgspec
from rstore_api import rows
from rstore_api.errors import StoreError
from rstore_api.proto.rstore_pb2 import ImportStep, ReplicatedRows, SnapshotStep

from rstore_replica.mvcc import state
from rstore_replica.mvcc.commands.command import Command, Mutates, Place
from rstore_replica.mvcc.data.auth import FEATURE_LEVEL
from rstore_replica.mvcc.data.outcome import Outcome
from rstore_replica.mvcc.data.writer import Writer
from rstore_replica.mvcc.tails import rules
from rstore_replica.mvcc.tails.steps import staying
from rstore_replica.mvcc.transfer import install, stream


def _rows(place: Place, command: ReplicatedRows) -> Outcome:
    batch, position, region = command.batch, place.position, place.region
    accepted = rules.refusal_while_undoing(region) or state.accept_rows(region, position.revision, batch)
    if isinstance(accepted, StoreError):
        return place.unchanged(accepted)
    frames = stream.check_rows(batch)
    if isinstance(frames, StoreError):
        return place.unchanged(frames)
    writer = Writer(place.store, place.transaction, position.revision, region.region)
    writer.append_all(frames)
    writer.flush()
    install.abandon(place.store, place.transaction, position)
    compact_revision = max(position.compact_revision, min(batch.compact_revision, batch.last_revision))
    position = msgspec.structs.replace(position, revision=batch.last_revision, compact_revision=compact_revision)
    accepted = state.knowing(accepted, rows.required_level(frames))
    return Outcome(position.revision, position, staying(accepted, place.quarantine))


def _snapshot(place: Place, step: SnapshotStep) -> Outcome:
    return install.install_step(place.store, place.transaction, place.position, place.region, step, place.index)


def _import(place: Place, step: ImportStep) -> Outcome:
    return install.import_step(place.store, place.transaction, place.position, place.region, step, place.index)


_BOTH = Mutates.DATA | Mutates.REGION
COMMANDS = (
    Command(
        "rows",
        _BOTH,
        _rows,
        lambda command: f"rows of revisions {command.batch.prev_revision + 1} to {command.batch.last_revision}",
    ),
    Command(
        "import_step",
        _BOTH,
        _import,
        lambda step: f"a chunk of what is imported, of revision {step.chunk.revision}",
        level=FEATURE_LEVEL,
    ),
    Command(
        "long_key_import",
        _BOTH,
        _import,
        lambda step: f"a chunk of what is imported, with long keys, of revision {step.chunk.revision}",
        level=rows.LONG_KEYS_LEVEL,
    ),
    Command("snapshot", _BOTH, _snapshot, lambda step: f"a chunk of a snapshot of revision {step.chunk.revision}"),
)
