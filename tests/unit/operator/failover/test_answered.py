"""Annotations that a tool puts back each time: done once, nothing flaps, and a new wish is a new wish."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rstore_api.domain.kubernetes import ABORT_FAILOVER, FAILOVER_DRY_RUN, FAILOVER_MODE, FAILOVER_TO
from rstore_operator.resource.managers import Setter, annotation_setters
from unit.operator.planner.test_plan import condition, fresh, reasons
from unit.operator.resource.test_crd import STATUS, problems_of
from unit.operator.world import World

TOOL, PERSON = "argocd-controller", "kubectl-annotate"


def apply(world: World, manager: str = TOOL, **wanted: str) -> None:
    """As the manifest is applied again: what the operator took off is there again."""
    for name, value in wanted.items():
        key = f"replicatedstore.io/{name.replace('_', '-')}"
        world.annotations[key] = value
        if manager:
            world.setters[key] = Setter(manager, by_apply=manager == "kubectl")
        else:
            world.setters.pop(key, None)


def again(world: World, times: int = 5, **wanted: str) -> tuple[int, int]:
    """Apply it again and again; how many events that makes, and how many changes of status."""
    events, writes = len(world.events), world.status_writes
    for _ in range(times):
        apply(world, **wanted)
        world.settle()
        assert world.annotations == {}
    return len(world.events) - events, world.status_writes - writes


def to(world: World, region: str, manager: str = PERSON) -> None:
    apply(world, manager, failover_to=region)
    world.settle()


def automatic_failover(world: World, region: str) -> None:
    """The primary is somewhere else, and nobody has asked for it."""
    to(world, region, manager="rstore-cli")
    world.status["history"][-1] |= {"trigger": "PrimaryLost", "mode": "Automatic"}


def test_a_switchover_that_is_applied_again_is_done_once() -> None:
    world = fresh()
    apply(world, failover_to="eu-west")
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"
    assert problems_of(world.status, STATUS) == []
    epoch = world.status["epoch"]
    assert again(world, failover_to="eu-west") == (1, 1), "told once, remembered once"
    assert reasons(world).count("RepeatedRequest") == 1
    assert problems_of(world.status, STATUS) == []
    automatic_failover(world, "ap-south")
    assert again(world, failover_to="eu-west") == (1, 1), "told that it does not move the primary back"
    assert again(world, failover_to="eu-west") == (0, 0)
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("ap-south", epoch + 1)


def test_the_present_primary_that_is_applied_again_is_answered_once() -> None:
    world = fresh()
    apply(world, failover_to="us-east")
    world.settle()
    assert reasons(world).count("AlreadyPrimary") == 1
    again(world, failover_to="us-east")
    assert reasons(world).count("AlreadyPrimary") == 1
    automatic_failover(world, "eu-west")
    again(world, failover_to="us-east")
    assert world.status["primaryRegion"] == "eu-west"


def test_what_is_remembered_outlives_the_operator() -> None:
    world = fresh()
    apply(world, failover_to="eu-west")
    world.settle()
    automatic_failover(world, "ap-south")
    assert again(world, times=1, failover_to="eu-west")[1] <= 1
    assert world.status["primaryRegion"] == "ap-south"


@pytest.mark.parametrize("manager", ["kubectl-annotate", "kubectl-edit", "kubectl-patch", "rstore-cli", "curl", ""])
def test_a_request_by_hand_is_meant_each_time(manager: str) -> None:
    world = fresh()
    apply(world, manager, failover_to="eu-west")
    world.settle()
    automatic_failover(world, "ap-south")
    apply(world, manager, failover_to="eu-west")
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"


@pytest.mark.parametrize("manager", ["kubectl", "kubectl-client-side-apply", "kustomize-controller", "Helm"])
def test_whatever_applies_manifests_is_known_from_the_first_time_on(manager: str) -> None:
    world = fresh()
    apply(world, manager, failover_to="eu-west")
    world.settle()
    automatic_failover(world, "ap-south")
    world.now += timedelta(days=1)
    apply(world, manager, failover_to="eu-west")
    world.settle()
    assert world.status["primaryRegion"] == "ap-south"
    assert reasons(world)[-1] == "RepeatedRequest"


def test_any_other_that_puts_back_what_is_done_is_taken_for_a_machine_until_it_is_quiet() -> None:
    world = fresh()
    for _ in range(30):
        apply(world, PERSON, failover_to="eu-west")
        world.settle()
        world.now += timedelta(seconds=10)
    assert reasons(world).count("AlreadyPrimary") == 1
    automatic_failover(world, "ap-south")
    for _ in range(100):
        apply(world, PERSON, failover_to="eu-west")
        world.settle()
        world.now += timedelta(seconds=10)
    assert world.status["primaryRegion"] == "ap-south"
    assert reasons(world).count("RepeatedRequest") == 1, "told when it would have moved the primary"
    apply(world, "rstore-cli", failover_to="eu-west")
    world.settle()
    assert world.status["primaryRegion"] == "eu-west", "our command line is meant each time"
    automatic_failover(world, "ap-south")
    world.now += timedelta(minutes=11)
    apply(world, PERSON, failover_to="eu-west")
    world.settle()
    assert world.status["primaryRegion"] == "eu-west", "it was quiet for a while"


def test_another_value_is_a_new_wish_and_so_is_the_first_one_after_it() -> None:
    world = fresh()
    for region in ("eu-west", "ap-south", "eu-west"):
        apply(world, failover_to=region)
        world.settle()
        assert world.status["primaryRegion"] == region
    automatic_failover(world, "ap-south")
    apply(world, failover_to="eu-west", failover_mode="forced")
    world.settle()
    assert world.status["primaryRegion"] == "eu-west", "with a mode it is another request"


def test_the_same_value_after_somebody_asked_for_another_primary_is_a_new_wish() -> None:
    world = fresh()
    apply(world, failover_to="eu-west")
    world.settle()
    to(world, "us-east")
    apply(world, failover_to="eu-west")
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"
    automatic_failover(world, "us-east")
    again(world, failover_to="eu-west")
    assert world.status["primaryRegion"] == "us-east"


def test_a_refusal_is_reported_once_and_the_request_is_tried_again() -> None:
    world = fresh()
    world.lose("eu-west")
    apply(world, failover_to="eu-west")
    world.settle()
    assert reasons(world).count("SwitchoverRefused") == 1
    again(world, failover_to="eu-west")
    assert reasons(world).count("SwitchoverRefused") == 1
    assert condition(world, "RequestAccepted")["reason"] == "SwitchoverRefused"
    world.regions["eu-west"].up = True
    apply(world, failover_to="eu-west")
    world.settle()
    assert world.status["primaryRegion"] == "eu-west", "what was refused has not been done"


@pytest.mark.parametrize("wanted", [{"failover_to": "mars"}, {"failover_to": "eu-west", "failover_mode": "bogus"}])
def test_nonsense_that_is_applied_again_does_not_flap(wanted: dict[str, str]) -> None:
    world = fresh()
    apply(world, **wanted)
    world.settle()
    assert again(world, **wanted) == (0, 0)
    assert condition(world, "RequestAccepted")["status"] == "False"


def test_an_abort_that_is_applied_again_does_not_call_off_what_comes_later() -> None:
    world = fresh()
    apply(world, abort_failover="true")
    world.settle()
    assert reasons(world).count("NothingToAbort") == 1
    again(world, abort_failover="true")
    assert reasons(world).count("NothingToAbort") == 1
    apply(world, PERSON, failover_to="eu-west")
    for _ in range(30):
        apply(world, abort_failover="true")
        world.step()
    assert world.status["primaryRegion"] == "eu-west"


def test_a_dry_run_that_is_applied_again_is_answered_once() -> None:
    world = fresh()
    apply(world, failover_dry_run="eu-west")
    world.settle()
    again(world, failover_dry_run="eu-west")
    assert reasons(world).count("DryRun") == 1
    apply(world, PERSON, failover_dry_run="eu-west")
    world.settle()
    assert reasons(world).count("DryRun") == 2


def field(manager: str, time: str, *annotations: str) -> dict[str, Any]:
    fields = {"f:metadata": {"f:annotations": {".": {}, **{f"f:{name}": {} for name in annotations}}}}
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields}


def test_the_manager_that_set_an_annotation() -> None:
    entries = [
        field("argocd", "2026-01-01T00:00:01Z", FAILOVER_TO, FAILOVER_MODE),
        field("kubectl-annotate", "2026-01-01T00:00:02Z", FAILOVER_TO),
        {"manager": "x", "fieldsV1": {"f:spec": {}}},
        {"manager": "y"},
    ]
    found = annotation_setters({"managedFields": entries})
    assert (found[FAILOVER_TO].manager, found[FAILOVER_MODE].manager) == ("kubectl-annotate", "argocd")
    assert not found[FAILOVER_TO].by_apply
    applied = {**field("any", "2026-01-01T00:00:01Z", FAILOVER_TO), "operation": "Apply"}
    assert annotation_setters({"managedFields": [applied]})[FAILOVER_TO].applies_manifests
    assert annotation_setters({}) == {}
    assert FAILOVER_DRY_RUN not in found
    assert ABORT_FAILOVER not in found
