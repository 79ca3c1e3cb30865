"""Whole rolls in the store in memory: order, waiting, a wrong image, an operator killed between any two steps."""

from __future__ import annotations

import random

import pytest
from rstore_operator.facts.memory import Memory
from rstore_operator.planning.rollout.turns import Turn
from unit.operator.planning.rollout.rolling_world import BAD_IMAGE, RollingWorld

LARGE = {"us-east": 3, "eu-west": 3, "ap-south": 1}
SMALL = {"us-east": 1, "eu-west": 1, "ap-south": 1}


def regions_of(pods: list[str]) -> list[str]:
    """The regions in the order in which their pods were replaced, each once in a row."""
    names = [pod.removeprefix("orders-").rpartition("-")[0] for pod in pods]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def test_secondaries_come_first_and_followers_before_the_leader() -> None:
    world = RollingWorld(LARGE)
    world.regions["us-east"].leading = 2
    world.change(memory="1Gi")
    world.roll()
    assert regions_of(world.replaced) == ["ap-south", "eu-west", "us-east"]
    assert len(world.replaced) == len(set(world.replaced)) == 7
    assert [pod for pod in world.replaced if "us-east" in pod] == [f"orders-us-east-{i}" for i in (1, 0, 2)]
    assert world.status["epoch"] == 1, "the primary did not move: its region never stopped"
    assert not world.condition("RolloutBlocked")


def test_the_region_of_least_priority_comes_first() -> None:
    world = RollingWorld(LARGE)
    world.spec["regions"][1]["priority"] = 99
    world.change(memory="1Gi")
    world.roll()
    assert regions_of(world.replaced) == ["eu-west", "ap-south", "us-east"]


def test_a_primary_of_one_pod_is_left_before_and_comes_back() -> None:
    world = RollingWorld(SMALL)
    world.change(memory="1Gi")
    world.roll()
    for _ in range(40):
        world.step()
    assert regions_of(world.replaced) == ["ap-south", "eu-west", "us-east"]
    receipts = [(item["trigger"], item["from"], item["to"]) for item in world.status["history"]]
    assert receipts == [("Rollout", "us-east", "ap-south"), ("Rollout", "ap-south", "us-east")]
    assert (world.status["primaryRegion"], world.status["phase"]) == ("us-east", "Steady")


def test_a_primary_that_a_person_moved_meanwhile_stays_there() -> None:
    world = RollingWorld(SMALL)
    world.change(memory="1Gi")
    while world.status["primaryRegion"] == "us-east":
        world.step()
    world.annotations["replicatedstore.io/failover-to"] = "eu-west"
    world.roll()
    for _ in range(40):
        world.step()
    assert world.status["primaryRegion"] == "eu-west"


def stays_for_a_person() -> RollingWorld:
    """A roll of which only the primary region of one replica is left, which no rule may leave by itself."""
    world = RollingWorld(SMALL, failover={"policy": "Manual"})
    world.change(memory="1Gi")
    for _ in range(100):
        world.step()
    assert regions_of(world.replaced) == ["ap-south", "eu-west"]
    blocked = world.condition("RolloutBlocked")
    assert blocked["reason"] == "PrimaryStays"
    assert "`rstore failover orders --to eu-west`" in blocked["message"]
    assert "replicatedstore.io/failover-to=eu-west or ap-south;" in blocked["message"]
    assert world.condition("Stalled")["message"] == blocked["message"]
    return world


@pytest.mark.parametrize("by", ["annotation", "spec"])
def test_with_a_manual_policy_a_roll_goes_on_once_a_person_has_moved_the_primary(by: str) -> None:
    world = stays_for_a_person()
    if by == "annotation":
        world.annotations["replicatedstore.io/failover-to"] = "eu-west"
    else:
        world.spec["primaryRegion"] = "eu-west"
        world.generation += 1
    world.roll()
    assert regions_of(world.replaced) == ["ap-south", "eu-west", "us-east"]
    assert not world.condition("RolloutBlocked")
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("eu-west", 2)


@pytest.mark.parametrize("sizes", [LARGE, SMALL])
def test_a_wrong_image_breaks_one_pod_and_correcting_it_repairs(sizes: dict[str, int]) -> None:
    world = RollingWorld(sizes)
    world.image = BAD_IMAGE
    for _ in range(150):
        world.step()
        assert world.write()
    assert world.replaced == ["orders-ap-south-0"]
    blocked = world.condition("RolloutBlocked")
    assert (blocked["status"], blocked["reason"]) == ("True", "PodNotStarted")
    assert "orders-ap-south-0: ImagePullBackOff: replica:nope" in blocked["message"]
    assert "rolling ap-south: 0 of 1 pods" in world.condition("Progressing")["message"]
    assert [event for event in world.events if event[0] == "RolloutBlocked"]
    world.image = "replica:2"
    world.roll()
    assert world.replaced[:2] == ["orders-ap-south-0"] * 2
    assert len(world.replaced) == sum(sizes.values()) + 1
    assert not world.condition("RolloutBlocked")


def test_going_back_to_the_image_before_touches_only_the_broken_pod() -> None:
    world = RollingWorld(LARGE)
    world.image = BAD_IMAGE
    for _ in range(100):
        world.step()
    world.image = "replica:1"
    world.roll()
    assert world.replaced == ["orders-ap-south-0"] * 2


def test_a_store_all_of_whose_pods_are_broken_is_repaired() -> None:
    world = RollingWorld(SMALL)
    world.checks = False
    world.image = BAD_IMAGE
    for pod in world.pods.values():  # whatever broke them: nodes that were drained, an operator of before
        pod.image = BAD_IMAGE
    for _ in range(60):
        world.step()
    world.image = "replica:2"
    for _ in range(40):
        world.step()
    assert world.replaced[-3:] == ["orders-ap-south-0", "orders-eu-west-0", "orders-us-east-0"]
    world.roll()


def test_a_roll_waits_while_another_pod_is_away() -> None:
    world = RollingWorld(LARGE)
    world.checks = False
    world.pods["us-east", 2].ticks = 10_000
    world.change(memory="1Gi")
    for _ in range(60):
        world.step()
    assert world.replaced == []
    assert "waits for orders-us-east-2 to be ready" in world.condition("Progressing")["message"]
    for _ in range(60):  # longer than a pod that runs may be without being ready: then it is replaced itself
        world.step(seconds=1.0)
    assert world.replaced[0] == "orders-us-east-2"
    world.roll()


def test_a_roll_waits_for_a_region_that_is_not_connected() -> None:
    world = RollingWorld(LARGE)
    world.regions["eu-west"].linked = False
    world.change(memory="1Gi")
    for _ in range(30):
        world.step()
    assert world.replaced == []
    assert "waits for eu-west to be connected" in world.condition("Progressing")["message"]
    world.regions["eu-west"].linked = True
    world.roll()


def test_a_paused_store_is_not_rolled() -> None:
    world = RollingWorld(LARGE)
    world.change(memory="1Gi")
    while not world.replaced:
        world.step()
    world.annotations["replicatedstore.io/paused"] = "true"
    for _ in range(30):
        world.step()
    assert len(world.replaced) == 1
    del world.annotations["replicatedstore.io/paused"]
    world.roll()


def test_a_roll_waits_for_its_turn_and_says_whose_it_is() -> None:
    world = RollingWorld(LARGE)
    world.turn = Turn(False, "its turn comes after that of default/shop")
    world.change(memory="1Gi")
    for _ in range(30):
        world.step()
    assert world.replaced == []
    assert "default/shop" in world.condition("Progressing")["message"]


def test_a_change_during_a_roll_is_rolled_as_well() -> None:
    world = RollingWorld(LARGE)
    world.change(memory="1Gi")
    while len(world.replaced) < 4:
        world.step()
    world.change(memory="2Gi")
    world.roll()
    assert len(world.replaced) <= 4 + 7


@pytest.mark.parametrize("sizes", [LARGE, SMALL])
@pytest.mark.parametrize("seed", range(6))
def test_an_operator_that_is_killed_between_any_two_steps(sizes: dict[str, int], seed: int) -> None:
    rng = random.Random(seed)
    world = RollingWorld(sizes)
    world.change(memory="1Gi")
    for _ in range(1500):
        crash = rng.choice(("none", "before_act", "after_act", "before_record"))
        if crash in ("before_act", "before_record"):
            decided = world.decide()
            if crash == "before_act":
                assert world.record(decided, world.version)
            world.memory = Memory()
        world.step()
        if crash == "after_act":
            world.memory = Memory()
        world.write()
        if not world.unfinished() and world.status["phase"] == "Steady":
            break
    assert regions_of(world.replaced) == ["ap-south", "eu-west", "us-east"]
    assert len(world.replaced) == sum(sizes.values()), "no pod is replaced twice"
    for epoch, regions in world.promoted.items():
        assert len(regions) == 1, epoch
