"""SemiSync as the operator sees it: the rule on its way to the regions, the loss gate, what is said about it."""

from __future__ import annotations

import functools
import os
import random
from dataclasses import replace

import pytest
from msgspec import structs
from rstore_api.domain.kubernetes import ACCEPT_DATA_LOSS
from rstore_operator.facts.actions import Apply
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.truth import read_truth
from rstore_operator.planner.witness import reported_to_witness
from rstore_operator.resource.state import StoreStatus
from unit.operator.failover.test_unplanned import condition, reasons
from unit.operator.lossy_world import LossyWorld, clone, semi_sync

HISTORIES = int(os.environ.get("RSTORE_SEMI_SYNC_HISTORIES", "6"))
FIVE = ("us", "eu", "ap", "sa", "af")


@functools.cache
def _template(count: int, regions: int, on_timeout: str) -> LossyWorld:
    return semi_sync(list(FIVE[:count]), regions, onTimeout=on_timeout)


def fresh(count: int = 3, regions: int = 1, *, on_timeout: str = "Fail") -> LossyWorld:
    return clone(_template(count, regions, on_timeout))


def test_the_rule_reaches_every_region_and_changes_without_a_restart() -> None:
    world = fresh()
    for region in world.regions.values():
        assert region.topology.sync.min_in_sync_regions == 1
        assert region.topology.sync.timeout_ms == 5000
    assert condition(world, "InSync")["reason"] == "SemiSync"
    assert world.status["inSyncRegions"] == 1
    versions = {region.topology.version for region in world.regions.values()}
    world.compare_objects = True
    world.spec = {**world.spec, "replication": {"mode": "Async"}}
    world.generation += 1
    applied = []
    for _ in range(10):
        applied += [action.key for action in world.step().actions if isinstance(action, Apply)]
    assert not [key for key in applied if key[0] in ("StatefulSet", "ConfigMap")], "nothing restarts for it"
    assert all(region.topology.sync is None for region in world.regions.values())
    assert {region.topology.version for region in world.regions.values()} == {versions.pop() + 1}
    assert condition(world, "InSync")["reason"] == "AllRegions"
    assert "inSyncRegions" not in world.status
    world.spec = {**world.spec, "replication": {"mode": "SemiSync", "onTimeout": "Degrade", "semiSyncTimeout": "200ms"}}
    world.generation += 1
    world.run(2)
    rule = world.regions["us"].topology.sync
    assert (rule.min_in_sync_regions, rule.timeout_ms, rule.degrade) == (1, 200, True)
    assert world.status["inSyncRegions"] == 1


def test_an_invalid_spec_leaves_the_rule_as_it_is() -> None:
    world = fresh()
    world.spec = {**world.spec, "replication": {"mode": "SemiSync", "minInSyncRegions": 3}}
    world.generation += 1
    world.run(1)
    problem = condition(world, "SpecValid")
    assert problem["status"] == "False"
    assert "must be lower than the number of regions, 3" in problem["message"]
    assert world.regions["us"].topology.sync.min_in_sync_regions == 1
    assert condition(world, "InSync")["reason"] == "SemiSync"


def test_a_lost_primary_is_replaced_and_nothing_acknowledged_is_missing() -> None:
    world = fresh()
    world.regions["ap"].linked = False
    world.run(1)
    world.write()  # in the primary only, and not acknowledged
    world.kill("us")
    world.regions["ap"].linked = True
    world.run(8)
    assert world.status["primaryRegion"] == "eu", "it has most data"
    assert not world.lost()
    world.revive("us")
    world.run(3)
    assert not world.lost()
    receipt = world.status["history"][-1]
    assert receipt["acknowledgedKept"] is True
    assert (receipt["revisionsLost"], receipt["revisionsUnacknowledged"]) == (0, 1)


def test_one_of_four_and_two_that_cannot_be_asked_is_in_doubt() -> None:
    world = fresh(5, 1)
    for name in ("eu", "ap", "sa"):
        world.regions[name].linked = False  # only af has the newest
    world.run(1)
    world.kill("us")
    world.kill("af")
    for name in ("eu", "ap", "sa"):
        world.regions[name].linked = True
    world.run(8)
    blocked = condition(world, "FailoverBlocked")
    assert (blocked["status"], blocked["reason"]) == ("True", "DataLoss")
    assert "a write is in 1 of 4 other regions, and af cannot be asked" in blocked["message"]
    assert 'accept-data-loss: "1"' in blocked["message"]
    assert world.status["epoch"] == 1
    world.revive("af")
    world.run(8)
    assert world.status["primaryRegion"] == "af"
    assert not world.lost()


@pytest.mark.parametrize("restarted", [False, True])
def test_the_gate_judges_by_the_mode_in_which_was_acknowledged(restarted: bool) -> None:
    """A spec that leaves SemiSync while the primary is lost opens nothing; accepting the loss does."""
    world = fresh(5, 1)
    for name in ("eu", "ap", "sa"):
        world.regions[name].linked = False  # only af has the newest
    world.run(1)
    world.kill("us")
    world.kill("af")
    for name in ("eu", "ap", "sa"):
        world.regions[name].linked = True
    world.spec = {**world.spec, "replication": {"mode": "Async"}}
    world.generation += 1
    if restarted:
        world.memory = Memory()
    world.run(12)
    assert condition(world, "FailoverBlocked")["reason"] == "DataLoss"
    assert world.status["epoch"] == 1
    world.annotations[ACCEPT_DATA_LOSS] = "1"
    world.run(8)
    assert world.status["epoch"] == 2
    assert {sent["mode"] for sent in world.status["toldRegions"]} == {"Async"}


def test_two_of_four_are_enough_when_every_write_is_in_two() -> None:
    world = fresh(5, 2)
    world.kill("us")
    world.kill("af")
    world.run(8)
    assert world.status["epoch"] == 2
    assert not world.lost()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_a_primary_that_had_degraded_is_not_replaced_without_leave(count: int, restarted: bool) -> None:
    world = fresh(count, 1, on_timeout="Degrade")
    for name in world.regions:
        world.regions[name].linked = name == "us"
    world.run(1)
    world.degraded.add("us")
    before = len(world.acked)
    world.run(1)
    assert len(world.acked) > before, "acknowledgements go on"
    assert condition(world, "InSync")["reason"] == "SemiSyncDegraded"
    assert reasons(world).count("SemiSyncDegraded") == 1
    assert (world.status["phase"], condition(world, "Degraded")["reason"]) == ("Degraded", "SemiSyncDegraded")
    assert "inSyncRegions" not in world.status
    world.kill("us")
    for region in world.regions.values():
        region.linked = True
    if restarted:
        world.memory = Memory()
    world.run(10)
    assert condition(world, "FailoverBlocked")["reason"] == "DataLoss"
    assert condition(world, "InSync")["reason"] == "SemiSyncDegraded", "what it said last"
    world.annotations[ACCEPT_DATA_LOSS] = "1"
    world.run(8)
    assert world.status["epoch"] == 2
    assert world.annotations == {}
    assert world.lost(), "this is what was accepted"


def test_in_sync_again_is_reported_once_and_opens_the_gate() -> None:
    world = fresh(3, 1, on_timeout="Degrade")
    world.degraded.add("us")
    world.run(1)
    world.degraded.clear()
    world.run(1)
    assert condition(world, "InSync")["status"] == "True"
    assert reasons(world).count("InSyncAgain") == 1
    assert world.status["phase"] == "Steady"
    world.kill("us")
    world.run(8)
    assert world.status["epoch"] == 2


@pytest.mark.parametrize("restarted", [False, True])
def test_with_two_regions_the_witness_knows_what_the_primary_reported_last(restarted: bool) -> None:
    world = fresh(2)
    world.kill("us")
    if restarted:
        world.memory = Memory()
    world.run(10)
    assert world.status["primaryRegion"] == "eu"
    assert not world.lost()


def test_the_witness_records_that_less_is_reported_before_it_grants_it() -> None:
    """The operator dies between the two: what is persisted is what it may have granted, or less."""
    world = fresh(2, 1, on_timeout="Degrade")
    world.regions["eu"].linked = False
    world.degraded.add("us")
    world.replicate()
    decided = world.decide()
    assert decided.commit_first
    assert decided.status.in_sync_regions == 0


@pytest.mark.parametrize(
    ("offered", "reported", "expected"),
    [
        (8, 0, (1, 9)),  # seen before what is on record
        (12, 1, (1, 9)),  # nothing new
        (12, 0, (0, 12)),
        (0, 1, (1, 0)),  # the operator is no witness any more
    ],
)
def test_an_operator_that_looked_earlier_does_not_take_back_what_is_persisted(
    offered: int, reported: int, expected: tuple[int, int]
) -> None:
    world = fresh(2)
    leader = world.observed().leader("us")
    leader = replace(leader, tenure=replace(leader.tenure, witness_round=offered, in_sync_regions=reported))
    truth = read_truth(world.observed(), Memory(), StoreStatus())
    before = StoreStatus(epoch=1, in_sync_regions=1, in_sync_round=9)
    assert reported_to_witness(leader, ("us", "eu"), truth, before) == expected
    later = structs.replace(before, epoch=0)
    assert reported_to_witness(leader, ("us", "eu"), truth, later) == (reported, offered), (
        "rounds of another epoch do not compare"
    )
    assert reported_to_witness(leader, ("us", "eu", "ap"), truth, later) == (0, offered), "it counts other regions"


def test_more_data_loss_may_be_allowed_by_the_spec() -> None:
    world = fresh(3, 1, on_timeout="Degrade")
    world.spec = {**world.spec, "failover": {"maxDataLoss": "1Mi"}}
    world.degraded.add("us")
    world.run(2)
    world.kill("us")
    world.run(8)
    assert world.status["epoch"] == 2


def test_voters_that_have_forgotten_what_they_received_count_for_nothing() -> None:
    world = fresh()
    world.kill("us")
    world.received.pop("eu")
    world.run(8)
    assert condition(world, "FailoverBlocked")["reason"] == "DataLoss"
    assert "not all that us had acknowledged was known" in condition(world, "FailoverBlocked")["message"]


@pytest.mark.parametrize("before_actions", [False, True], ids=["after acting", "between recording and acting"])
@pytest.mark.parametrize("crash_at", [0, 1, 5, 20, 32, 34])
@pytest.mark.parametrize("count", [2, 3])
def test_a_crash_at_any_moment_is_resumed_and_loses_nothing(count: int, crash_at: int, before_actions: bool) -> None:
    world = fresh(count)
    world.kill("us")
    world.resume_after_a_crash(crash_at, before_actions=before_actions)
    assert world.status["epoch"] == 2
    assert not world.lost()


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_whatever_fails_nothing_acknowledged_is_lost_unless_somebody_accepts_it(seed: int) -> None:
    rng = random.Random(seed)
    world = fresh(*rng.choice([(2, 1), (3, 1), (5, 1), (5, 2)]), on_timeout=rng.choice(["Fail", "Degrade"]))
    degrades = world.spec["replication"]["onTimeout"] == "Degrade"
    for _ in range(25):
        name = rng.choice(sorted(world.regions))
        match rng.randrange(6):
            case 0 if len(world.dead) <= 1:
                world.kill(name)
            case 1 if world.dead:
                world.revive(rng.choice(sorted(world.dead)))
            case 2:
                world.regions[name].linked = not world.regions[name].linked
            case 3 if degrades:
                world.degraded ^= {name}
            case 4:
                world.memory = Memory()
            case 5:
                world.received.pop(name, None)  # its leader changes
        world.run(rng.choice([0.3, 1.0, 5.0]))
        assert not world.lost(), f"{world.status['epoch']}"
    assert len(world.acked) > 10
