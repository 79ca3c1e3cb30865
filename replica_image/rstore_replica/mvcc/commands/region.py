"""Commands that change what the region is: its store, topology, promises and role."""

from __future__ import annotations

import msgspec
from rstore_api.errors import StoreError
from rstore_api.messages import topology_of
from rstore_api.proto.rstore_pb2 import BootstrapRequest, Noop, Promise, PromoteRequest, TenureBound, Topology

from rstore_replica.mvcc import state
from rstore_replica.mvcc.commands.command import Command, Mutates, Place
from rstore_replica.mvcc.data.outcome import Outcome
from rstore_replica.mvcc.requests.dedup import RequestMemory
from rstore_replica.mvcc.state import RegionState
from rstore_replica.mvcc.tails import rules
from rstore_replica.mvcc.tails.steps import staying
from rstore_replica.mvcc.transfer import install


def _becomes(place: Place, region: RegionState, answer: object = None) -> Outcome:
    return Outcome(answer, place.position, region)


def _bootstrap(place: Place, request: BootstrapRequest) -> Outcome:
    joined = state.bootstrap(place.region, request)
    return place.unchanged(joined) if isinstance(joined, StoreError) else _becomes(place, joined)


def _topology(place: Place, topology: Topology) -> Outcome:
    return _becomes(place, state.with_topology(place.region, topology_of(topology)))


def _promise(place: Place, command: Promise) -> Outcome:
    answer = (place.region.epoch, place.position.revision)
    return _becomes(place, state.promise(place.region, command.epoch), answer)


def _promote(place: Place, request: PromoteRequest) -> Outcome:
    position, region = place.position, place.region
    promoted = rules.refusal_while_undoing(region) or state.promote(region, position.revision, request)
    if isinstance(promoted, StoreError):
        return place.unchanged(promoted)
    after, first_revision = promoted
    if after.epoch != region.epoch:
        # What other regions were asked to do, and did, in the epochs before is not known here.
        RequestMemory(place.store, place.transaction, place.index).forget_all(position.revision)
        install.abandon(place.store, place.transaction, position)
        position = msgspec.structs.replace(position, revision=first_revision - 1)
    return Outcome(first_revision, position, staying(after, place.quarantine))


def _tenure_bound(place: Place, command: TenureBound) -> Outcome:
    return _becomes(place, msgspec.structs.replace(place.region, tenure_bound_ms=command.duration_ms))


def _noop(place: Place, _command: Noop) -> Outcome:
    return place.unchanged(None)


COMMANDS = (
    Command("bootstrap", Mutates.REGION, _bootstrap, lambda request: f"a bootstrap of store {request.store_id}"),
    Command("topology", Mutates.REGION, _topology, lambda topology: f"a topology of epoch {topology.epoch}"),
    Command("promise", Mutates.REGION, _promise, lambda command: f"a promise of epoch {command.epoch}"),
    Command(
        "promotion",
        Mutates.DATA | Mutates.REGION,
        _promote,
        lambda request: f"a promotion to primary of epoch {request.epoch}",
    ),
    Command("tenure_bound", Mutates.REGION, _tenure_bound, lambda command: f"a bound of {command.duration_ms} ms"),
    Command("noop", Mutates.NOTHING, _noop, lambda _command: "no change"),
)
