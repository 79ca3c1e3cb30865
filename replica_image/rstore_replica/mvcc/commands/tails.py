"""Commands about diverged tails: leaving one, step by step, and dropping one from quarantine."""

from __future__ import annotations

from rstore_api.errors import InvalidRequest
from rstore_api.proto.rstore_pb2 import DropTail, Rewind, RewindStep

from rstore_replica.mvcc.commands.command import Command, Mutates, Place
from rstore_replica.mvcc.data.outcome import Outcome
from rstore_replica.mvcc.tails import rules
from rstore_replica.mvcc.tails.steps import Leave


def _leave(place: Place, bounds: Rewind | RewindStep) -> Leave:
    return Leave(place.store, place.transaction, place.quarantine, max_rows=bounds.max_rows, max_bytes=bounds.max_bytes)


def _rewind(place: Place, command: Rewind) -> Outcome:
    return _leave(place, command).begin(place.position, place.region, command)


def _rewind_step(place: Place, command: RewindStep) -> Outcome:
    return _leave(place, command).go_on(place.position, place.region)


def _drop_tail(place: Place, command: DropTail) -> Outcome:
    """A file of that name goes, too, where the region has no such tail."""
    region, file = place.region, command.file
    try:
        place.quarantine.path(file)
    except ValueError as error:
        return place.unchanged(InvalidRequest(str(error)))
    if region.leaving is not None and region.leaving.header.file == file:
        return place.unchanged(InvalidRequest(f"{file} is being written"))
    place.quarantine.discard(file)
    after = rules.without_tail(region, file)
    return Outcome(after != region, place.position, after)


_BOTH = Mutates.DATA | Mutates.REGION
COMMANDS = (
    Command("rewind", _BOTH, _rewind, lambda command: f"a rewind to revision {command.fork_revision}"),
    Command("rewind_step", _BOTH, _rewind_step, lambda _command: "a step of a rewind"),
    Command("drop_tail", Mutates.REGION, _drop_tail, lambda command: f"the drop of the tail {command.file}"),
)
