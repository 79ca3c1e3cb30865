"""What the leaders of regions are asked to do, as tables: what was observed in, the calls out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rstore_api.domain.topology import RegionTopology, ReplicaAddress, Topology
from rstore_operator.facts.actions import (
    AddMember,
    Bootstrap,
    Delete,
    Demote,
    Fence,
    HandOver,
    Promote,
    PushTopology,
    RemoveMember,
)
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, Pod, RegionObserved, ReplicaStatus
from rstore_operator.facts.truth import read_truth
from rstore_operator.failover.planned import DemoteCommand, FenceCommand, PromoteCommand
from rstore_operator.planner.region_calls import RegionCalls
from rstore_operator.planning.bootstrap import BootstrapPlan
from rstore_operator.planning.scaling.effective import effective
from rstore_operator.planning.scaling.steps import Scaling
from rstore_operator.resource.model import RegionSpec, StoreSpec
from rstore_operator.resource.state import RegionStatus, SentTopology, StoreStatus
from unit.operator.world import REF

NAMES = ("us", "eu", "ap")
PLACES = tuple(RegionTopology(name, (ReplicaAddress(f"orders-{name}-0", "peer:1", "client:1"),)) for name in NAMES)
HELD = Topology(1, 1, "us", tuple(sorted(PLACES, key=lambda place: place.name)))
SPEC = StoreSpec("us", tuple(RegionSpec(name, replicas=1) for name in NAMES))


def leader(name: str, **changes: Any) -> ReplicaStatus:
    primary = name == "us"
    base = ReplicaStatus(
        f"orders-{name}-0", name, "s", True, f"orders-{name}-0", 1, 9, 1, 1, primary, primary, topology=HELD
    )  # fmt: skip
    return replace(base, **changes)


def seen(*leaders: ReplicaStatus, addresses: bool = True) -> Observed:
    ip = "10.0.0.1" if addresses else ""
    regions = {
        one.region: RegionObserved(one.region, (Pod(one.name, one.region, ip, True),), (one,)) for one in leaders
    }
    return Observed(regions=regions)


ALL = tuple(leader(name) for name in NAMES)


def calls_on(
    observed: Observed, *, sent: tuple[SentTopology, ...] = (), status: StoreStatus | None = None
) -> RegionCalls:
    status = status or StoreStatus(store_id="s", epoch=1, primary_region="us")
    truth = read_truth(observed, Memory(), status)
    planned = effective(SPEC, REF.name, observed, status, truth.primary_region)
    return RegionCalls(REF, observed, truth, PLACES, None, planned, sent)


def shown(actions: Any) -> list[tuple[type, str]]:
    return [(type(action), action.region) for action in actions]


PUSHES: list[tuple[Observed, list[str]]] = [
    (seen(*ALL), []),
    (seen(ALL[0], leader("eu", topology=None), ALL[2]), ["eu"]),
    (seen(ALL[0], leader("eu", topology=replace(HELD, regions=HELD.regions[:2])), ALL[2]), list(NAMES)),
    (seen(ALL[0], leader("eu", topology=None, store_id="")), []),
    (seen(ALL[0], leader("eu", topology=None, store_id="another")), []),
    (seen(ALL[0], leader("eu", topology=None), addresses=False), []),
]


@pytest.mark.parametrize(("observed", "expected"), PUSHES)
def test_a_region_that_does_not_know_the_topology_is_sent_it(observed: Observed, expected: list[str]) -> None:
    assert shown(calls_on(observed).pushes("s")) == [(PushTopology, name) for name in expected]


def test_a_topology_is_newer_than_every_other_that_the_primary_may_have_been_sent() -> None:
    observed = seen(ALL[0], leader("eu", topology=None))
    [push] = calls_on(observed, sent=(SentTopology(1, 7, ("us",)),)).pushes("s")[:1]
    assert isinstance(push, PushTopology)
    assert push.topology.version > 7


COMMANDS: list[tuple[Any, Observed, list[tuple[type, str]]]] = [
    (DemoteCommand("us", 2), seen(*ALL), [(Demote, "us")]),
    (DemoteCommand("us", 2), seen(*ALL[1:]), []),
    (PromoteCommand("eu", 2, 9), seen(*ALL), [(Promote, "eu")]),
    (PromoteCommand("eu", 2, 9), seen(*ALL, addresses=False), []),
    (FenceCommand(("us", "eu"), 2), seen(*ALL[1:]), [(Fence, "eu")]),
]


@pytest.mark.parametrize(("command", "observed", "expected"), COMMANDS)
def test_a_command_goes_to_leaders_that_have_an_address(
    command: Any, observed: Observed, expected: list[tuple[type, str]]
) -> None:
    assert shown(calls_on(observed).command(command, "s")) == expected


def test_a_promotion_carries_the_topology_of_its_epoch() -> None:
    [promote] = calls_on(seen(*ALL)).command(PromoteCommand("eu", 5, 9, 10**9), "s")
    assert isinstance(promote, Promote)
    assert (promote.min_revision, promote.revision_jump) == (9, 10**9)
    assert (promote.topology.epoch, promote.topology.version, promote.topology.primary_region) == (5, 1, "eu")
    assert {region.name for region in promote.topology.regions} == set(NAMES)


STEPS: list[tuple[Scaling, list[type]]] = [
    (Scaling(1), []),
    (Scaling(2, add="orders-eu-1"), [AddMember]),
    (Scaling(2, remove="orders-eu-1"), [RemoveMember]),
    (Scaling(2, hand_over_to="orders-eu-0"), [HandOver]),
]


@pytest.mark.parametrize(("step", "expected"), STEPS)
def test_a_step_of_scaling_is_a_call_on_the_regions_leader(step: Scaling, expected: list[type]) -> None:
    calls = calls_on(seen(*ALL))
    assert calls.effective is not None
    calls = replace(calls, effective=replace(calls.effective, scaling=(("eu", step),)))
    assert [type(action) for action in calls.scaling()] == expected
    assert replace(calls, observed=seen(*ALL[:1])).scaling() == []


@pytest.mark.parametrize(("fresh", "expected"), [((), []), (("eu",), ["eu"]), (("eu", "mars"), ["eu"])])
def test_fresh_regions_are_given_the_stores_id_and_promise_what_was_promised(
    fresh: tuple[str, ...], expected: list[str]
) -> None:
    actions = calls_on(seen(*ALL)).bootstraps(BootstrapPlan("s", regions=fresh), promised_epoch=4)
    assert shown(actions) == [(Bootstrap, name) for name in expected]
    assert all(isinstance(action, Bootstrap) and action.promised_epoch == 4 for action in actions)


LEAVER = {("StatefulSet", "orders-old"): {"metadata": {
    "name": "orders-old", "uid": "1", "labels": {"replicatedstore.io/region": "old"}}}}  # fmt: skip
WITH_OLD = replace(HELD, regions=(*HELD.regions, RegionTopology("old", ())))
DEPARTURES: list[tuple[Callable[[], Observed], bool]] = [
    (lambda: seen(*ALL), True),
    (lambda: seen(*ALL[:2]), False),
    (lambda: seen(*ALL[:2], leader("ap", topology=WITH_OLD)), False),
]


@pytest.mark.parametrize(("look", "gone"), DEPARTURES)
def test_a_region_that_left_goes_once_no_other_counts_on_it(look: Callable[[], Observed], gone: bool) -> None:
    status = StoreStatus(store_id="s", epoch=1, primary_region="us", regions=(RegionStatus("old", phase="Removing"),))
    calls = calls_on(replace(look(), children=LEAVER), status=status)
    assert calls.effective is not None
    calls = replace(calls, effective=replace(calls.effective, leaving=frozenset({"old"})))
    assert any(isinstance(action, Delete) for action in calls.departures([])) == gone
    assert calls.departures([PushTopology("us", None, "s", HELD)]) == ()  # type: ignore[arg-type]
