"""A request that waits: it is shown with since when, and refused once it has waited too long."""

from __future__ import annotations

import copy

import pytest
from rstore_api.domain.kubernetes import FAILOVER_MODE, FAILOVER_TO, PAUSED
from rstore_operator.facts.memory import Memory
from unit.operator.lossy_world import LossyWorld, running
from unit.operator.planner.test_plan import condition
from unit.operator.world import START, begin_and_hold_back

TEMPLATE = running(requestTimeout="60s")


def fresh() -> LossyWorld:
    return copy.deepcopy(TEMPLATE)


def behind() -> LossyWorld:
    """eu-west gets nothing from the primary."""
    world = fresh()
    world.regions["eu-west"].linked = False
    world.annotations[FAILOVER_TO] = "eu-west"
    return world


def paused() -> LossyWorld:
    world = fresh()
    world.annotations |= {PAUSED: "true", FAILOVER_TO: "eu-west"}
    return world


def most_lost() -> LossyWorld:
    world = fresh()
    world.kill("us-east")
    world.kill("ap-south")
    world.annotations |= {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced"}
    return world


@pytest.mark.parametrize(
    ("situation", "reason"), [(behind, "TargetBehind"), (paused, "Paused"), (most_lost, "NoMajority")]
)
def test_it_is_shown_and_expires(situation, reason: str) -> None:
    world = situation()
    asked_at = world.now
    world.run(30)
    shown = condition(world, "RequestPending")
    assert (shown["status"], shown["reason"]) == ("True", reason)
    since = world.status["pendingRequest"]["since"]
    assert since == asked_at.isoformat(timespec="seconds").replace("+00:00", "Z")
    world.memory = Memory()  # another operator goes on counting
    world.run(35)
    assert FAILOVER_TO not in world.annotations
    assert FAILOVER_MODE not in world.annotations
    assert "pendingRequest" not in world.status
    assert not [item for item in world.status["conditions"] if item["type"] == "RequestPending"]
    refused = condition(world, "RequestAccepted")
    assert (refused["status"], refused["reason"]) == ("False", "RequestExpired")
    assert "it waited for 60s, in vain: " in refused["message"]
    assert [event for event, _ in world.events].count("RequestExpired") == 1
    assert world.demotions == []


def test_it_is_carried_out_once_it_can_be() -> None:
    world = behind()
    world.run(30)
    world.regions["eu-west"].linked = True
    world.run(3)
    assert world.status["primaryRegion"] == "eu-west"
    assert "pendingRequest" not in world.status


def test_another_request_in_its_place_waits_anew() -> None:
    world = paused()
    world.run(50)
    world.annotations[FAILOVER_TO] = "ap-south"
    world.run(30)
    assert world.annotations[FAILOVER_TO] == "ap-south"
    assert world.status["pendingRequest"]["value"] == "ap-south"
    assert world.status["pendingRequest"]["since"] > START.isoformat()


def test_it_waits_for_the_change_under_way_and_one_that_is_carried_out_does_not_wait() -> None:
    world = fresh()
    begin_and_hold_back(world, "eu-west")
    world.step()
    assert "pendingRequest" not in world.status
    world.annotations[FAILOVER_TO] = "ap-south"
    world.step()
    assert condition(world, "RequestPending")["reason"] == "ChangeUnderWay"
    world.run(8)
    assert world.status["primaryRegion"] == "ap-south"


def test_a_status_at_rest_is_not_written_because_something_waits() -> None:
    world = paused()
    world.run(5)
    world.step()
    written = world.status_writes
    for _ in range(20):
        world.step()
        world.renew()
    assert world.status_writes == written
