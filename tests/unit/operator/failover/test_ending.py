"""A primary region whose replicas are being stopped: the primary moves before it is gone."""

from __future__ import annotations

from typing import Any

import pytest
from unit.operator.world import World

SPEC: dict[str, Any] = {
    "primaryRegion": "us-east",
    "regions": [
        {"name": "us-east", "replicas": 1},
        {"name": "eu-west", "replicas": 1, "priority": 20},
        {"name": "ap-south", "replicas": 1, "priority": 10},
    ],
}


def fresh(replicas: int = 1, **failover: Any) -> World:
    regions = [dict(region) for region in SPEC["regions"]]
    regions[0]["replicas"] = replicas
    world = World({**SPEC, "regions": regions, "failover": failover})
    world.settle()
    world.write()
    world.replicate()
    return world


def receipt(world: World) -> dict[str, Any]:
    return world.status["history"][-1] if world.status.get("history") else {}


@pytest.mark.parametrize(("replicas", "terminating"), [(1, (0,)), (2, (1,)), (2, (0,)), (3, (0, 1)), (3, (0, 1, 2))])
def test_the_primary_moves_when_the_pods_that_go_are_its_quorum(replicas: int, terminating: tuple[int, ...]) -> None:
    world = fresh(replicas)
    world.regions["us-east"].terminating = terminating
    world.settle()
    found = receipt(world)
    assert (found["trigger"], found["mode"], found["outcome"]) == ("PrimaryStopping", "Planned", "Succeeded")
    assert (found["from"], found["to"], found["epoch"]) == ("us-east", "ap-south", 2)
    assert "orders-us-east-" in found["reason"]
    assert any(reason == "SwitchoverDemoting" and "being stopped" in text for reason, text in world.events)
    assert world.write()
    assert world.regions["ap-south"].log[-1] == world.acked[-1]


@pytest.mark.parametrize(("replicas", "terminating"), [(3, (0,)), (3, (2,))])
def test_it_stays_where_a_majority_stays(replicas: int, terminating: tuple[int, ...]) -> None:
    world = fresh(replicas)
    world.regions["us-east"].terminating = terminating
    world.settle()
    assert receipt(world) == {}


def test_what_the_leader_reports_is_enough() -> None:
    """A node that shuts down ends processes before any pod is deleted."""
    world = fresh()
    world.regions["us-east"].ending_seconds = 0.7
    world.settle()
    found = receipt(world)
    assert found["trigger"] == "PrimaryStopping"
    assert found["writeGapSeconds"] >= 0.7, "writes were refused before the operator knew"


def test_a_secondary_that_ends_moves_nothing_and_is_no_target() -> None:
    world = fresh()
    world.regions["ap-south"].terminating = (0,)
    world.settle()
    assert receipt(world) == {}
    world.regions["us-east"].terminating = (0,)
    world.settle()
    assert receipt(world)["to"] == "eu-west"


def test_a_region_that_gets_nothing_is_no_target() -> None:
    world = fresh()
    world.regions["ap-south"].linked = False
    world.regions["us-east"].terminating = (0,)
    world.settle()
    assert receipt(world)["to"] == "eu-west"


def test_without_a_target_nothing_begins() -> None:
    world = fresh()
    for name in ("ap-south", "eu-west"):
        world.regions[name].linked = False
    world.regions["us-east"].terminating = (0,)
    for _ in range(5):
        world.step()
    assert "failover" not in world.status
    assert receipt(world) == {}


def test_a_manual_policy_moves_nothing() -> None:
    world = fresh(policy="Manual")
    world.regions["us-east"].terminating = (0,)
    for _ in range(5):
        world.step()
    assert receipt(world) == {}


def test_a_paused_store_is_left_alone() -> None:
    world = fresh()
    world.annotations["replicatedstore.io/paused"] = "true"
    world.regions["us-east"].terminating = (0,)
    for _ in range(5):
        world.step()
    assert receipt(world) == {}


def test_a_region_to_which_a_move_was_given_up_is_not_tried_again_at_once_and_another_one_is() -> None:
    world = fresh(switchoverTimeout="1s")
    world.write()
    world.regions["us-east"].terminating = (0,)
    decided = world.decide()
    assert world.record(decided, world.version)
    for name in ("ap-south", "eu-west"):
        world.regions[name].linked = False
    for _ in range(30):
        world.step()
    assert receipt(world)["outcome"] == "Aborted"
    assert receipt(world)["to"] == "ap-south"
    world.regions["ap-south"].linked = True
    epoch = receipt(world)["epoch"]
    for _ in range(20):
        world.step()
    assert receipt(world)["epoch"] == epoch
    world.regions["eu-west"].linked = True
    world.settle()
    assert (receipt(world)["to"], receipt(world)["outcome"]) == ("eu-west", "Succeeded")


@pytest.mark.parametrize(("failback", "home"), [("Automatic", "us-east"), ("Manual", "ap-south")])
def test_it_goes_back_as_after_a_failover(failback: str, home: str) -> None:
    world = fresh(failback=failback)
    world.regions["us-east"].terminating = (0,)
    world.settle()
    world.regions["us-east"].terminating = ()
    for _ in range(150):
        world.step()
    assert world.status["primaryRegion"] == home


def test_regions_of_an_even_number_of_replicas_are_warned_of_once() -> None:
    world = fresh(2)
    found = [condition for condition in world.status["conditions"] if condition["type"] == "SpecValid"]
    assert (found[0]["status"], found[0]["reason"]) == ("True", "EvenReplicas")
    assert "us-east has 2 replicas and bears the loss of no more of them than 1" in found[0]["message"]
    world.settle()
    assert [reason for reason, _ in world.events].count("EvenReplicas") == 1


def test_regions_of_odd_numbers_are_not_warned_of() -> None:
    assert not any(reason == "EvenReplicas" for reason, _ in fresh(3).events)
