"""A region's pods are made from the template that it had, until it is the region's turn in a roll."""

from __future__ import annotations

import copy

import pytest
from rstore_api.domain.kubernetes import RESTARTED_AT, TEMPLATE_HASH
from rstore_operator.facts.memory import Memory
from unit.operator.planning.rollout.moving_world import MovingWorld
from unit.operator.planning.rollout.rolling_world import BAD_IMAGE, RollingWorld
from unit.operator.world import World

LARGE = {"us-east": 3, "eu-west": 3, "ap-south": 1}
SMALL = {"us-east": 1, "eu-west": 1, "ap-south": 1}
LATE = "2026-01-02T00:00:00Z"


def template_image(world: RollingWorld, region: str) -> str:
    live = world.children["StatefulSet", f"orders-{region}"]
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"])


def blocked_by_a_wrong_image(sizes: dict[str, int]) -> RollingWorld:
    world = RollingWorld(sizes)
    world.image = BAD_IMAGE
    for _ in range(100):
        world.step()
    assert world.condition("RolloutBlocked")["reason"] == "PodNotStarted"
    world.checks = False  # more than one pod is away from now on
    return world


@pytest.mark.parametrize("sizes", [LARGE, SMALL])
@pytest.mark.parametrize("region", ["eu-west", "us-east"])
def test_a_pod_that_is_lost_while_a_roll_is_blocked_comes_back_as_it_was(sizes: dict[str, int], region: str) -> None:
    world = blocked_by_a_wrong_image(sizes)
    for ordinal in range(sizes[region]):
        uid = world.pods[region, ordinal].uid
        del world.pods[region, ordinal]
        for _ in range(100):
            world.step()
        assert (world.pods[region, ordinal].image, world.pods[region, ordinal].ready) == ("replica:1", True)
        assert world.pods[region, ordinal].uid != uid
    assert [template_image(world, name) for name in ("ap-south", region)] == [BAD_IMAGE, "replica:1"]
    assert world.replaced == ["orders-ap-south-0"]
    world.image = "replica:2"
    world.roll()
    assert {pod.image for pod in world.pods.values()} == {"replica:2"}


def test_a_pod_that_does_not_start_again_does_not_bring_the_wrong_template_into_its_region() -> None:
    world = blocked_by_a_wrong_image(LARGE)
    world.pods["eu-west", 1].image = BAD_IMAGE  # its node cannot pull any image, say
    for _ in range(100):
        world.step()
    assert template_image(world, "eu-west") == "replica:1"
    world.image = "replica:2"
    world.roll()


def test_each_region_gets_the_template_at_its_turn() -> None:
    world = RollingWorld(LARGE)
    world.image = "replica:2"
    seen = []
    for _ in range(600):
        world.step()
        images = [template_image(world, name) for name in ("ap-south", "eu-west", "us-east")]
        if images not in seen:
            seen.append(images)
        if not world.unfinished() and world.status["phase"] == "Steady":
            break
    one, two = "replica:1", "replica:2"
    assert seen == [[two, one, one], [two, two, one], [two] * 3]


def test_a_pod_that_fails_by_the_template_of_its_region_is_repaired_before_its_turn() -> None:
    world = RollingWorld(LARGE)
    world.checks = False
    world.pods["us-east", 2].image = BAD_IMAGE
    for _ in range(60):
        world.step()
    world.image = "replica:2"
    world.roll()
    assert world.replaced[0] == "orders-us-east-2"
    assert {pod.image for pod in world.pods.values()} == {"replica:2"}


def test_replicas_are_added_while_a_roll_is_blocked() -> None:
    world = blocked_by_a_wrong_image(LARGE)
    eu = next(region for region in world.spec["regions"] if region["name"] == "eu-west")
    eu["replicas"] = 5
    for _ in range(60):
        world.step()
    live = world.children["StatefulSet", "orders-eu-west"]
    assert live["spec"]["replicas"] > 3
    assert template_image(world, "eu-west") == "replica:1"
    assert world.pods["eu-west", 3].ready


def test_a_stateful_set_is_not_made_anew_with_a_template_before_its_turn() -> None:
    world = MovingWorld(LARGE)
    world.image = BAD_IMAGE
    for _ in range(100):
        world.step()
    before = copy.deepcopy(world.children["StatefulSet", "orders-eu-west"])
    world.use_class("fast")
    for _ in range(30):
        world.step()
        assert world.children["StatefulSet", "orders-eu-west"]["spec"] == before["spec"]
    world.image = "replica:2"
    world.move()
    assert {pod.image for pod in world.pods.values()} == {"replica:2"}


def test_a_restart_reaches_the_regions_in_turn_and_is_done_once() -> None:
    world = RollingWorld(LARGE)
    world.annotations[RESTARTED_AT] = LATE
    world.step()
    sets = [world.children["StatefulSet", f"orders-{name}"] for name in LARGE]
    asked = [child["spec"]["template"]["metadata"]["annotations"].get(RESTARTED_AT) for child in sets]
    assert asked == [None, None, LATE]
    world.roll()
    assert len(world.replaced) == 7
    assert world.annotations[RESTARTED_AT] == LATE
    for _ in range(60):
        world.step()
    assert len(world.replaced) == 7


def test_a_restart_of_one_region_by_kubectl_is_done_there_alone() -> None:
    world = RollingWorld(LARGE)
    live = world.children["StatefulSet", "orders-eu-west"]
    live["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] = LATE
    live["metadata"]["generation"] += 1
    world.step()
    world.roll()
    assert sorted(world.replaced) == [f"orders-eu-west-{ordinal}" for ordinal in range(3)]


def test_a_template_that_somebody_changed_is_put_right_at_once() -> None:
    world = RollingWorld(LARGE)
    live = world.children["StatefulSet", "orders-us-east"]
    live["spec"]["template"]["spec"]["containers"][0]["image"] = BAD_IMAGE
    world.step()
    assert template_image(world, "us-east") == "replica:1"


def test_an_operator_of_before_did_not_write_the_hash_down() -> None:
    """Without a change of the template nothing rolls; with one, regions have their turns."""
    world = RollingWorld(LARGE)
    for name in LARGE:
        del world.children["StatefulSet", f"orders-{name}"]["metadata"]["annotations"][TEMPLATE_HASH]
    world.step()
    assert all(
        TEMPLATE_HASH in world.children["StatefulSet", f"orders-{name}"]["metadata"]["annotations"] for name in LARGE
    )
    world.roll()
    assert world.replaced == []
    for name in LARGE:
        del world.children["StatefulSet", f"orders-{name}"]["metadata"]["annotations"][TEMPLATE_HASH]
    world.image = BAD_IMAGE
    for _ in range(100):
        world.step()
    assert [template_image(world, name) for name in LARGE] == ["replica:1", "replica:1", BAD_IMAGE]


def test_an_operator_that_knows_nothing_of_a_store_but_its_ready_pods_holds_a_template_back() -> None:
    """The status is lost with the process before, and no replica answers."""
    world = RollingWorld(LARGE)
    world.checks = False
    world.status, world.memory, world.image = {}, Memory(), BAD_IMAGE
    for region in world.regions.values():
        region.up = False
    decided = world.decide()
    world.act(decided)
    assert [template_image(world, name) for name in LARGE] == ["replica:1"] * 3


def test_a_store_that_was_never_created_gets_a_corrected_template_at_once() -> None:
    world = World()
    world.image = BAD_IMAGE
    for _ in range(3):
        world.step()
        for region in world.regions.values():
            region.up = False
    world.image = "replica:2"
    world.step()
    sets = [child for (kind, _), child in world.children.items() if kind == "StatefulSet"]
    images = {child["spec"]["template"]["spec"]["containers"][0]["image"] for child in sets}
    assert (len(sets), images) == (3, {"replica:2"})


def test_a_paused_store_says_that_a_change_waits() -> None:
    world = RollingWorld(LARGE)
    world.annotations["replicatedstore.io/paused"] = "true"
    world.step()
    world.image = "replica:2"
    for _ in range(5):
        world.step()
    progressing = world.condition("Progressing")
    assert (progressing["status"], progressing["reason"]) == ("Unknown", "Paused")
