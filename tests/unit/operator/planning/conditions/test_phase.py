"""What ``kubectl get`` and ``kubectl wait`` show: when a store is Ready, and the one word for its state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rstore_api.domain.kubernetes import PAUSED
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed
from rstore_operator.planning.conditions.phase import phase_of
from rstore_operator.resource.reader import Problem
from rstore_operator.resource.state import Condition, FailoverIntent, Phase, RegionStatus, Step, StoreStatus, Trigger
from unit.operator.planner.test_plan import condition, fresh, reasons
from unit.operator.world import START, World

PROBLEM = (Problem("spec", "is wrong"),)
INTENT = FailoverIntent(
    mode="Planned", trigger=Trigger.SPEC, from_region="a", from_epoch=1, epoch=2, step=Step.DEMOTING, started_at=START
)
READY, DEGRADED = Condition("Ready", "True"), Condition("Degraded", "True")
GROWING, CATCHING_UP = Condition("Progressing", "True", "Regions"), Condition("Progressing", "True", "CatchingUp")
PENDING, CREATING = (RegionStatus("a"),), (RegionStatus("a", phase="Creating"),)
PHASES: list[tuple[StoreStatus, tuple[Problem, ...], bool, Phase]] = [
    (StoreStatus(epoch=1, conditions=(READY,)), (), False, Phase.STEADY),
    (StoreStatus(epoch=1, conditions=(READY, CATCHING_UP)), (), False, Phase.CHANGING),
    (StoreStatus(epoch=1, conditions=(READY, Condition("Progressing", "Unknown", "Paused"))), (), True, Phase.PAUSED),
    (StoreStatus(epoch=1, conditions=(READY,)), (), True, Phase.PAUSED),
    (StoreStatus(epoch=1), (), False, Phase.DEGRADED),
    (StoreStatus(epoch=1), (), True, Phase.DEGRADED),
    (StoreStatus(epoch=1, conditions=(READY, GROWING)), (), False, Phase.CREATING),
    (StoreStatus(epoch=1, conditions=(READY, GROWING, DEGRADED)), (), True, Phase.DEGRADED),
    (StoreStatus(epoch=1, conditions=(READY, DEGRADED), failover=INTENT), (), True, Phase.SWITCHING_OVER),
    (StoreStatus(epoch=1, conditions=(READY,), failover=INTENT), PROBLEM, False, Phase.INVALID),
    (StoreStatus(regions=PENDING), (), False, Phase.PENDING),
    (StoreStatus(regions=PENDING), (), True, Phase.PAUSED),
    (StoreStatus(regions=CREATING, conditions=(DEGRADED,)), (), False, Phase.CREATING),
]


@pytest.mark.parametrize(("status", "problems", "frozen", "phase"), PHASES)
def test_the_phase(status: StoreStatus, problems: tuple[Problem, ...], frozen: bool, phase: Phase) -> None:
    assert phase_of(status, problems, frozen=frozen) is phase


def test_a_store_is_ready_when_a_service_leads_to_its_primary() -> None:
    world = World()
    for _ in range(40):
        for region in world.regions.values():
            region.unready = region.replicas
        world.step()
    assert world.regions["us-east"].writable
    assert (condition(world, "Ready")["status"], condition(world, "Ready")["reason"]) == ("False", "NoReadyReplica")
    assert world.status["phase"] == "Creating"
    world.regions["us-east"].unready = 2
    world.step()
    assert condition(world, "Ready")["status"] == "True", "one is enough"


def test_pods_that_restart_one_by_one_leave_it_ready_and_an_idle_store_writes_nothing() -> None:
    world = fresh()
    since = condition(world, "Ready")["lastTransitionTime"]
    for unready in (1, 2, 0):
        world.regions["us-east"].unready = unready
        world.step(seconds=2)
        written = world.status_writes
        for _ in range(3):
            world.step(seconds=2)
        assert world.status_writes == written
        assert condition(world, "Ready")["status"] == "True"
    assert condition(world, "Ready")["lastTransitionTime"] == since
    world.regions["us-east"].unready = 3
    world.step()
    assert condition(world, "Ready")["reason"] == "NoReadyReplica"
    assert world.status["phase"] == "Degraded"


def test_a_paused_store_says_so_unless_something_is_worse() -> None:
    world = fresh()
    world.annotations[PAUSED] = "true"
    world.step()
    assert world.status["phase"] == "Paused"
    world.regions["ap-south"].up = False
    world.step(seconds=10)
    world.step()
    assert world.status["phase"] == "Degraded"
    world.regions["ap-south"].up = True
    world.step()
    assert world.status["phase"] == "Paused"
    del world.annotations[PAUSED]
    world.settle()
    assert world.status["phase"] == "Steady"
    unmade = World()
    unmade.annotations[PAUSED] = "true"
    unmade.step()
    assert unmade.status["phase"] == "Paused"


class SlowPods(World):
    """A pod is not ready before its replica is in the group."""

    def observed(self) -> Observed:
        seen = super().observed()
        regions = {
            name: replace(
                region,
                pods=tuple(
                    replace(pod, ready=pod.ready and int(pod.name.rpartition("-")[2]) in self.regions[name].members)
                    for pod in region.pods
                ),
            )
            for name, region in seen.regions.items()
        }
        return replace(seen, regions=regions)


def _with_replicas(world: World, region: str, replicas: int) -> None:
    regions = [{**item, "replicas": replicas} if item["name"] == region else item for item in world.spec["regions"]]
    world.spec = {**world.spec, "regions": regions}
    world.generation += 1


@pytest.mark.parametrize(("region", "replicas"), [("us-east", 5), ("ap-south", 3), ("eu-west", 1)])
def test_replicas_that_are_added_or_removed_are_a_change_and_nothing_is_missing(region: str, replicas: int) -> None:
    world = SlowPods()
    world.settle()
    _with_replicas(world, region, replicas)
    seen = set()
    for _ in range(60):
        world.step()
        world.regions[region].learners.clear()  # has caught up
        if condition(world, "Progressing")["status"] == "True":
            seen.add((world.status["phase"], condition(world, "Degraded")["status"]))
            assert condition(world, "Reconciling")["status"] == "True"
            assert condition(world, "Ready")["status"] == "True"
        else:
            break
    assert seen == {("Changing", "False")}
    assert world.status["phase"] == "Steady"
    assert len(world.regions[region].members) == replicas


def test_a_region_that_is_added_is_a_change_until_it_has_been_in_sync_once() -> None:
    world = fresh()
    world.spec = {**world.spec, "regions": [*world.spec["regions"], {"name": "sa", "replicas": 1}]}
    world.generation += 1
    while "sa" not in world.regions:
        world.step()
    world.regions["sa"].linked = False
    for _ in range(20):
        world.step()
        assert condition(world, "Progressing")["status"] == "True"
        assert world.status["phase"] == "Creating"
    world.regions["sa"].linked = True
    world.settle()
    assert world.status["phase"] == "Steady"
    world.regions["sa"].linked = False
    world.step()
    assert condition(world, "Progressing")["status"] == "False", "it was in sync: that is a fault, not a change"


def test_a_paused_store_says_that_a_change_of_its_spec_waits() -> None:
    world = fresh()
    world.annotations[PAUSED] = "true"
    world.settle()
    assert condition(world, "Reconciling")["status"] == "False"
    _with_replicas(world, "ap-south", 3)
    for _ in range(5):
        world.step()
        waits = condition(world, "Progressing")
        assert (waits["status"], waits["reason"]) == ("Unknown", "Paused")
        assert "ap-south: 1 replicas, 3 wanted" in waits["message"]
        assert (condition(world, "Reconciling")["status"], condition(world, "Stalled")["status"]) == ("True", "False")
        assert world.status["observedGeneration"] == world.generation
    assert world.status["phase"] == "Paused"
    assert world.regions["ap-south"].replicas == 1


def test_a_refused_spec_is_stalled() -> None:
    world = fresh()
    world.spec = {**world.spec, "primaryRegion": "nowhere"}
    world.generation += 1
    world.step()
    stalled = condition(world, "Stalled")
    assert (stalled["status"], stalled["observedGeneration"]) == ("True", world.generation)
    assert condition(world, "Reconciling")["status"] == "False"


def test_a_region_that_gets_nothing_degrades_the_store_after_a_while_and_is_reported_once() -> None:
    world = fresh()
    world.regions["eu-west"].linked = False
    for _ in range(4):
        world.step(seconds=1)
    assert world.status["phase"] == "Steady", "a stream that is made anew is no news"
    for _ in range(3):
        world.step(seconds=1)
    assert world.status["phase"] == "Degraded"
    assert condition(world, "Degraded")["reason"] == "RegionNotConnected"
    assert condition(world, "Degraded")["message"] == "eu-west: no stream from the primary region"
    written = world.status_writes
    for _ in range(5):
        world.step(seconds=1)
    assert world.status_writes == written
    world.memory = Memory()  # an operator that comes anew
    world.step(seconds=1)
    assert world.status["phase"] == "Degraded", "what was told is not taken back"
    world.regions["eu-west"].linked = True
    world.step()
    assert world.status["phase"] == "Steady"
    assert (reasons(world).count("RegionNotConnected"), reasons(world).count("RegionConnected")) == (1, 1)


def test_streams_that_break_now_and_then_are_no_news() -> None:
    world = fresh()
    for _ in range(6):
        for linked in (False, True):
            world.regions["eu-west"].linked = linked
            world.step(seconds=3)
            assert world.status["phase"] == "Steady"
    assert "RegionNotConnected" not in reasons(world)


def test_a_region_that_is_lost_is_reported_as_lost_only() -> None:
    world = fresh()
    world.regions["eu-west"].up = False
    for _ in range(12):
        world.step(seconds=1)
    assert condition(world, "Degraded")["reason"] == "RegionLost"
    assert "no stream" not in condition(world, "Degraded")["message"]
    assert "RegionNotConnected" not in reasons(world)
