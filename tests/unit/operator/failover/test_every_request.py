"""Each request in each state of a store is carried out or refused with a reason, or it waits and is answered later.

The object of a store that is being deleted is left alone: its annotations go with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
from rstore_api.domain.kubernetes import (
    ABORT_FAILOVER,
    ACCEPT_DATA_LOSS,
    FAILOVER_DRY_RUN,
    FAILOVER_MODE,
    FAILOVER_TO,
    PAUSED,
)
from rstore_operator.facts.actions import Bootstrap
from unit.operator.lossy_world import LossyWorld, running
from unit.operator.planner.test_plan import condition
from unit.operator.world import Remembers, begin_and_hold_back

LOOKS, LOOK_SECONDS = 25, 0.25
"""Together more than what a region that has just become silent is given."""


class NotFormed(LossyWorld):
    """Its replicas are never given the store's id while ``held``."""

    held = True

    def do(self, action: object, operator: Remembers | None = None) -> None:
        if not (self.held and isinstance(action, Bootstrap)):
            super().do(action, operator)


def not_formed() -> LossyWorld:
    world = NotFormed()
    for _ in range(10):
        world.step()
    assert "epoch" not in world.status
    return world


def not_formed_and_paused() -> LossyWorld:
    world = not_formed()
    world.annotations[PAUSED] = "true"
    return world


def steady() -> LossyWorld:
    return running()


def paused() -> LossyWorld:
    world = running()
    world.annotations[PAUSED] = "true"
    return world


def spec_invalid() -> LossyWorld:
    world = running()
    world.spec = {**world.spec, "primaryRegion": "nowhere"}
    return world


def primary_lost() -> LossyWorld:
    world = running(policy="Manual")
    world.kill("us-east")
    world.run(6)
    return world


def most_lost() -> LossyWorld:
    world = primary_lost()
    world.kill("ap-south")
    world.run(6)
    return world


def switching_over() -> LossyWorld:
    world = running()
    begin_and_hold_back(world, "eu-west")
    world.run(0.5)
    assert world.status["failover"]["step"] == "CatchingUp"
    return world


def failing_over() -> LossyWorld:
    world = running()
    world.kill("us-east")
    while "failover" not in world.status:
        world.run(0.1)
    world.kill("eu-west")
    world.kill("ap-south")
    return world


def forcing() -> LossyWorld:
    world = running(policy="Manual")
    world.kill("us-east")
    world.annotations |= {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced"}
    while world.status.get("failover", {}).get("step") != "Promoting":
        world.step()
    world.kill("eu-west")
    world.kill("ap-south")
    return world


STATES: dict[Callable[[], LossyWorld], str] = {
    not_formed: "",
    not_formed_and_paused: "Paused",
    steady: "",
    paused: "Paused",
    spec_invalid: "",
    primary_lost: "",
    most_lost: "FailoverBlocked",
    switching_over: "Progressing",
    failing_over: "Progressing",
    forcing: "Progressing",
}
"""And the condition that says what a request waits for there, if it waits."""
FORCED = {FAILOVER_MODE: "forced"}
REQUESTS: dict[str, dict[str, str]] = {
    "switchover": {FAILOVER_TO: "eu-west"},
    "switchover elsewhere": {FAILOVER_TO: "ap-south"},
    "switchover to the primary": {FAILOVER_TO: "us-east"},
    "forced": {FAILOVER_TO: "eu-west", **FORCED},
    "forced elsewhere": {FAILOVER_TO: "ap-south", **FORCED},
    "forced to the primary": {FAILOVER_TO: "us-east", **FORCED},
    "loss accepted": {FAILOVER_TO: "eu-west", **FORCED, ACCEPT_DATA_LOSS: "1"},
    "mode alone": FORCED,
    "dry run": {FAILOVER_DRY_RUN: "eu-west"},
    "abort": {ABORT_FAILOVER: "true"},
    "no such region": {FAILOVER_TO: "mars"},
    "no such epoch": {ACCEPT_DATA_LOSS: "7"},
}


@cache
def prepared(state: Callable[[], LossyWorld]) -> LossyWorld:
    world = state()
    world.step()
    return world


def left(world: LossyWorld, request: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in request.items() if world.annotations.get(name) == value}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_every_request_is_answered_or_waits_for_something_that_is_shown(
    state: Callable[[], LossyWorld], name: str
) -> None:
    world, request, waits_for = copy.deepcopy(prepared(state)), REQUESTS[name], STATES[state]
    events = len(world.events)
    world.annotations |= request
    for _ in range(LOOKS):
        world.step(seconds=LOOK_SECONDS)
    if left(world, request):
        assert waits_for, f"{request} is left without an answer"
        assert condition(world, waits_for)["status"] == "True"
        recover(world)
    assert left(world, request) == {}
    if state is not forcing or request.get(FAILOVER_TO) != "eu-west":  # which is what is being done
        answers = [reason for reason, _ in world.events[events:] if not reason.startswith("Region")]
        assert answers, "it is taken off and nothing is said"


def recover(world: LossyWorld) -> None:
    """Whatever stops the request is over."""
    world.annotations.pop(PAUSED, None)
    for name in list(world.dead):
        world.revive(name)
    for region in world.regions.values():
        region.linked = True
    if isinstance(world, NotFormed):
        world.held = False
    for _ in range(3 * LOOKS):
        world.step(seconds=LOOK_SECONDS)


def test_a_wish_that_changes_during_a_forced_failover_is_carried_out_after_it() -> None:
    world = copy.deepcopy(prepared(forcing))
    world.annotations[FAILOVER_TO] = "ap-south"
    del world.annotations[FAILOVER_MODE]
    recover(world)
    assert [receipt["to"] for receipt in world.status["history"]] == ["eu-west", "ap-south"]
    assert world.annotations == {}


@pytest.mark.parametrize("accepted", [{}, {ACCEPT_DATA_LOSS: "1"}])
def test_a_forced_failover_of_a_store_that_does_not_run_yet_is_refused(accepted: dict[str, str]) -> None:
    world = copy.deepcopy(prepared(not_formed))
    world.annotations |= {FAILOVER_TO: "eu-west", **FORCED, **accepted}
    world.step()
    assert world.annotations == {}
    assert "the store is not running yet" in condition(world, "RequestAccepted")["message"]


def test_an_accepted_loss_alone_stays_until_the_epoch_that_it_speaks_of_is_over() -> None:
    world = copy.deepcopy(prepared(steady))
    world.annotations[ACCEPT_DATA_LOSS] = "1"
    for _ in range(LOOKS):
        world.step(seconds=LOOK_SECONDS)
    assert world.annotations == {ACCEPT_DATA_LOSS: "1"}
    world.kill("us-east")
    world.run(10)
    assert world.status["epoch"] == 2
    assert world.annotations == {}
