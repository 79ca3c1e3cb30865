"""Replicas of a running region are added and taken away, one by one and through the region's Raft group."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from rstore_operator.facts.actions import AddMember, Apply, HandOver, RemoveMember
from rstore_operator.facts.observed import Pod, RegionObserved, ReplicaStatus
from rstore_operator.planning.scaling.steps import Scaling, plan_scaling
from unit.operator.world import SPEC, World


def status(name: str, leader: str, members: str = "", learners: str = "") -> ReplicaStatus:
    return ReplicaStatus(
        f"s-{name}",
        "r",
        "id",
        name == leader,
        f"s-{leader}",
        1,
        1,
        1,
        1,
        True,
        True,
        members=tuple(f"s-{i}" for i in members),
        learners=tuple(f"s-{i}" for i in learners),
    )


def region(
    pods: str, leader: str, members: str, learners: str = "", answering: str | None = None, ready: str | None = None
) -> RegionObserved:
    answers = pods if answering is None else answering
    return RegionObserved(
        "r",
        tuple(Pod(f"s-{i}", "r", f"10.0.0.{i}", ready=ready is None or i in ready) for i in pods),
        tuple(status(i, leader, members, learners) for i in answers),
    )


@pytest.mark.parametrize(
    ("found", "wanted", "running", "expected"),
    [
        (region("012", "1", "012"), 3, 3, Scaling(3)),
        (region("012", "", ""), 5, 3, Scaling(3)),
        (region("0", "", "01"), 1, 1, Scaling(2)),
        (region("0", "", "0", "1"), 3, 1, Scaling(2)),
        (region("012", "", "01"), 3, 3, Scaling(3)),
        (region("0", "0", "0"), 3, 1, Scaling(2)),
        (region("01", "0", "0", answering="0"), 3, 2, Scaling(2)),
        (region("01", "0", "0"), 3, 2, Scaling(2, add="s-1")),
        (region("01", "0", "01", "1"), 3, 2, Scaling(2)),
        (region("01", "0", "01"), 3, 2, Scaling(3)),
        (region("012", "0", "012"), 1, 3, Scaling(3, remove="s-2")),
        (region("012", "2", "012"), 1, 3, Scaling(3, hand_over_to="s-0")),
        (region("012", "0", "01"), 1, 3, Scaling(2)),
        (region("01", "0", "01"), 1, 2, Scaling(2, remove="s-1")),
        (region("012", "0", "012", "2"), 2, 3, Scaling(3, remove="s-2")),
        (region("012", "0", "02"), 3, 3, Scaling(3, add="s-1")),
        (region("012", "1", "012", "0"), 1, 3, Scaling(3)),
        (region("012", "1", "012", ready="12"), 1, 3, Scaling(3)),
        (region("012", "1", "012", ready="01"), 1, 3, Scaling(3, remove="s-2")),
        (region("01234", "0", "01234", ready="0134"), 3, 5, Scaling(5, remove="s-4")),
    ],
)
def test_the_next_step(found: RegionObserved, wanted: int, running: int, expected: Scaling) -> None:
    step = plan_scaling("s", wanted, running, found)
    assert (step.pods, step.add, step.remove, step.hand_over_to) == (
        expected.pods,
        expected.add,
        expected.remove,
        expected.hand_over_to,
    )
    assert bool(step.message) == (step != Scaling(wanted)), "something is going on, and is told"


def test_a_region_grows_and_shrinks_one_by_one() -> None:
    world = World(copy.deepcopy(SPEC))
    world.settle()
    steps: list[str] = []

    def scale(replicas: int) -> None:
        world.spec = copy.deepcopy(world.spec)
        world.spec["regions"][1]["replicas"] = replicas
        for _ in range(60):
            decided = world.step()
            for action in decided.actions:
                if isinstance(action, AddMember | RemoveMember | HandOver):
                    steps.append(f"{type(action).__name__} {action.name[-1]}")
                elif isinstance(action, Apply) and action.key[0] == "StatefulSet":
                    steps.append(f"pods {action.manifest['spec']['replicas']}")
            world.regions["eu-west"].learners.clear()  # has caught up
        assert world.regions["eu-west"].members == list(range(replicas))
        assert world.children[("StatefulSet", "orders-eu-west")]["spec"]["replicas"] == replicas

    scale(5)
    assert steps == ["pods 4", "AddMember 3", "pods 5", "AddMember 4"]
    steps.clear()
    world.regions["eu-west"].leading = 4
    scale(3)
    assert steps == ["HandOver 0", "RemoveMember 4", "pods 4", "RemoveMember 3", "pods 3"]
    reasons = [reason for reason, _ in world.events]
    assert "ReplicasChanging" in reasons
    assert all(condition["type"] != "ReplicasChanging" for condition in world.status["conditions"])


def test_what_replicas_name_as_members_is_bounded() -> None:
    claims = status("0", "9", "0")
    hostile = RegionObserved("r", (Pod("s-0", "r", "10.0.0.0", ready=True),), (replace(claims, members=("s-70",)),))
    assert plan_scaling("s", 1, 1, hostile).pods == 9


def test_a_region_that_is_made_again_over_volumes_of_a_larger_group_gets_its_leader_first() -> None:
    world = World(copy.deepcopy(SPEC))
    world.settle()
    world.spec = copy.deepcopy(SPEC)
    world.spec["regions"][2]["replicas"] = 1
    region = world.regions["ap-south"]
    region.members, region.without_leader = [0, 1], True
    for _ in range(4):
        world.step()
    assert region.replicas == 2, "both members run"
    region.without_leader = False
    for _ in range(10):
        world.step()
    assert (region.members, region.replicas) == ([0], 1), "then as many as the spec says"
    world.settle()
    assert world.status["phase"] == "Steady"
