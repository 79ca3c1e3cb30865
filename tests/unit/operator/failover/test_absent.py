"""A majority of the regions is gone for good, the primary among them: those that are left go on once a person has
deleted all of the others."""

from __future__ import annotations

import pytest
from rstore_api.domain.kubernetes import ACCEPT_DATA_LOSS
from rstore_operator.facts.memory import Memory
from unit.operator.lossy_world import TENURE, LossyWorld, running
from unit.operator.planner.test_plan import condition

THREE = [("us-east", 3), ("eu-west", 3), ("ap-south", 1)]
GONE = ("us-east", "ap-south")


def two_of_three_lost(**failover: object) -> LossyWorld:
    world = running(THREE, **failover)
    for name in GONE:
        world.kill(name)
    world.run(10)
    assert condition(world, "FailoverBlocked")["reason"] == "NoMajority"
    world.annotations[ACCEPT_DATA_LOSS] = "1"
    return world


def test_the_region_that_is_left_takes_over_and_writes() -> None:
    world = two_of_three_lost()
    world.wipe(*GONE)
    acknowledged = len(world.acked)
    world.run(15)
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("eu-west", 2)
    assert world.status["toldRegions"] == [{"epoch": 2, "version": 2, "regions": ["eu-west"], "mode": "Async"}]
    assert len(world.acked) > acknowledged
    assert not world.lost()
    assert condition(world, "Ready")["status"] == "True"


def test_nothing_is_decided_by_the_spec_alone() -> None:
    world = two_of_three_lost()
    kept = {name: world.regions[name] for name in GONE}
    objects = {key: body for key, body in world.children.items() if key[0] == "StatefulSet"}
    world.wipe(*GONE)
    world.regions |= kept
    world.children |= objects
    world.run(20)
    assert world.status["epoch"] == 1
    assert condition(world, "FailoverBlocked")["reason"] == "NoMajority"
    for name in GONE:
        world.revive(name)
    world.run(20)
    assert world.status["primaryRegion"] == "eu-west", "the spec names it, and it could be handed over"
    assert not world.lost()


@pytest.mark.parametrize("replication", [{"mode": "Async"}, {"mode": "SemiSync", "minInSyncRegions": 1}])
def test_the_loss_gate_stays_shut_until_the_loss_is_accepted(replication: dict[str, object]) -> None:
    """Also where the spec has to leave SemiSync, since no other region is left to confirm writes."""
    world = running(THREE, replication=replication)
    world.regions["eu-west"].linked = False
    world.run(2)
    for name in GONE:
        world.kill(name)
    world.run(10)
    world.wipe(*GONE)
    world.spec = {name: value for name, value in world.spec.items() if name != "replication"}
    world.run(15)
    assert world.status["primaryRegion"] == "us-east"
    blocked = condition(world, "FailoverBlocked")
    assert blocked["reason"] == "DataLoss"
    assert 'nothing is left of ap-south, us-east; accept it by accept-data-loss: "1"' in blocked["message"]
    world.annotations[ACCEPT_DATA_LOSS] = "1"
    world.run(15)
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("eu-west", 2)
    assert world.status["history"][-1]["revisionsLost"] == len(world.lost()) > 0


@pytest.mark.parametrize("pauses", [0.0, 1.0, TENURE])
def test_what_they_granted_before_is_waited_for_by_every_operator_anew(pauses: float) -> None:
    world = two_of_three_lost()
    world.wipe(*GONE)
    world.run(pauses)
    world.memory = Memory()
    world.run(TENURE)
    assert world.status["epoch"] == 1
    world.run(10)
    assert world.status["epoch"] == 2


def test_an_operator_that_comes_after_them_knows_them_by_the_topology_alone() -> None:
    world = two_of_three_lost()
    world.wipe(*GONE)
    world.memory = Memory()
    world.status = {**world.status, "regions": [], "toldRegions": []}
    world.run(15)
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("eu-west", 2)
    assert not world.lost()


def test_a_primary_that_others_still_grant_its_tenure_is_not_replaced() -> None:
    """The operator does not reach it; it acknowledges by the grants of the regions that are left."""
    world = running([(name, 1) for name in ("us-east", "eu-west", "ap-south", "sa-east", "af-south")])
    for name in ("sa-east", "af-south"):
        world.kill(name)
    world.regions["us-east"].up = False
    world.wipe("sa-east", "af-south")
    world.spec = {**world.spec, "primaryRegion": "us-east"}
    world.run(20)
    assert world.status["epoch"] == 1
    assert world.holds("us-east")
    assert condition(world, "FailoverBlocked")["reason"] == "TenureInDoubt"
    world.kill("us-east")
    world.run(20)
    assert condition(world, "FailoverBlocked")["reason"] == "DataLoss"
    world.annotations[ACCEPT_DATA_LOSS] = "1"
    world.run(20)
    assert world.status["epoch"] == 2
    assert not world.lost()


@pytest.mark.parametrize("steps", range(5))
@pytest.mark.parametrize("before_actions", [True, False])
def test_a_crash_between_any_two_steps_resumes(steps: int, *, before_actions: bool) -> None:
    world = two_of_three_lost()
    world.wipe(*GONE)
    world.resume_after_a_crash(steps, before_actions=before_actions)
    assert world.status["primaryRegion"] == "eu-west"
