"""Volumes are replaced for another StorageClass: one at a time, never where the rest of the region is no majority."""

from __future__ import annotations

import pytest
from rstore_operator.facts.memory import Memory
from unit.operator.planning.rollout.moving_world import MovingWorld

LARGE = {"us-east": 3, "eu-west": 3, "ap-south": 1}
ALONE = {"us-east": 1}


def regions_of(claims: list[str]) -> list[str]:
    """The regions in the order in which their volumes were replaced."""
    return list(dict.fromkeys(claim.removeprefix("data-orders-").rpartition("-")[0] for claim in claims))


def test_every_volume_of_a_large_region_is_replaced_and_the_leaders_last() -> None:
    world = MovingWorld(LARGE)
    world.regions["us-east"].leading = 2
    world.use_class("fast", "us-east", "eu-west")
    world.move()
    assert regions_of(world.emptied) == ["eu-west", "us-east"]
    assert [claim[-1] for claim in world.emptied] == ["2", "1", "0", "1", "0", "2"]
    assert world.classes("ap-south") == ["slow"]
    assert world.status["epoch"] == 1, "the primary did not move"


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_small_region_has_three_replicas_meanwhile(replicas: int) -> None:
    world = MovingWorld({"us-east": replicas})
    world.use_class("fast")
    sizes = []
    for _ in range(300):
        world.step()
        world.write()
        if world.regions["us-east"].replicas not in sizes[-1:]:
            sizes.append(world.regions["us-east"].replicas)
        if len(sizes) > 1 and sizes[-1] == replicas and world.status["phase"] == "Steady":
            break
    assert sizes == [replicas, *range(replicas + 1, 3), 3, *range(2, replicas, -1), replicas]
    assert world.classes("us-east") == ["fast"] * replicas
    assert len(world.emptied) == replicas, "those that came meanwhile are of the new class"
    assert world.status["epoch"] == 1
    assert any("3 replicas run while volumes are replaced" in message for _, message in world.events)


def test_larger_volumes_of_another_class_are_not_asked_to_grow_before() -> None:
    """``grow`` of the store in memory fails the test."""
    world = MovingWorld(ALONE)
    world.use_class("fast", size="20Gi")
    world.move()
    assert world.volumes["data-orders-us-east-0"].capacity == "20Gi"


def test_a_class_that_is_not_named_any_more_changes_no_volume() -> None:
    world = MovingWorld(LARGE)
    world.use_class("fast")
    world.move()
    done = len(world.emptied)
    world.use_class(None)
    for _ in range(60):
        world.step()
    assert len(world.emptied) == done
    template = world.children["StatefulSet", "orders-us-east"]["spec"]["volumeClaimTemplates"][0]["spec"]
    assert "storageClassName" not in template


def test_the_way_back_is_open_half_way() -> None:
    world = MovingWorld({"us-east": 3})
    world.use_class("fast")
    while len(world.emptied) < 2:
        world.step()
    world.use_class("slow")
    world.move()
    assert world.classes("us-east") == ["slow"] * 3
    assert len(world.emptied) <= 4


@pytest.mark.parametrize("after", range(0, 60, 4))
def test_operators_that_are_killed_at_any_step_go_on(after: int) -> None:
    world = MovingWorld({"us-east": 1, "eu-west": 3})
    world.use_class("fast")
    for _ in range(after):
        world.step()
    for _ in range(12):
        decided = world.decide()
        world.memory = Memory()
        world.act(decided)  # what it persisted is lost with it
        world.step()
    world.move()
    assert world.classes("us-east") == ["fast"]
    assert world.classes("eu-west") == ["fast"] * 3


def test_nothing_is_replaced_while_a_replica_is_not_ready() -> None:
    world = MovingWorld({"us-east": 3})
    world.pods["us-east", 1].ticks = 10_000
    world.use_class("fast")
    for _ in range(100):
        world.step()
    assert world.emptied == []
    world.pods["us-east", 1].ticks = 0
    world.move()
