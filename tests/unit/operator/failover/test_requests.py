"""The planner and annotations: pauses, requests that make no sense or come at the wrong time, dry runs."""

from __future__ import annotations

import pytest
from rstore_api.domain.kubernetes import (
    ABORT_FAILOVER,
    ACCEPT_DATA_LOSS,
    FAILOVER_DRY_RUN,
    FAILOVER_MODE,
    FAILOVER_TO,
    PAUSED,
    REQUESTS,
)
from rstore_operator.planning.conditions.conditions import merge
from rstore_operator.resource.commands import unknown_annotations
from rstore_operator.resource.state import Condition
from unit.operator.planner.test_plan import condition, fresh, reasons
from unit.operator.world import START


def test_paused_reports_and_changes_nothing() -> None:
    world = fresh()
    world.annotations[PAUSED] = "true"
    world.annotations[FAILOVER_TO] = "eu-west"
    del world.children[("ConfigMap", "orders-us-east")]
    world.regions["ap-south"].up = False
    for _ in range(3):
        assert world.step(seconds=3).actions == ()
    assert condition(world, "Paused")["status"] == "True"
    assert next(region for region in world.status["regions"] if region["name"] == "ap-south")["phase"] == "Lost"
    world.regions["ap-south"].up = True
    del world.annotations[PAUSED]
    world.settle()
    assert ("ConfigMap", "orders-us-east") in world.children
    assert world.status["primaryRegion"] == "eu-west", "the request waited"
    assert {"Paused", "Resumed"} <= set(reasons(world))


def test_a_pause_does_not_leave_a_switchover_half_done() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.step()
    world.annotations[PAUSED] = "true"
    for _ in range(8):
        world.step()
    assert world.status["primaryRegion"] == "eu-west"
    assert "failover" not in world.status


def test_requests_that_make_no_sense_are_answered_and_taken_off() -> None:
    for asked, reason in (
        ({FAILOVER_TO: "mars"}, "UnknownRegion"),
        ({FAILOVER_TO: "us-east"}, "AlreadyPrimary"),
        ({FAILOVER_DRY_RUN: "mars"}, "UnknownRegion"),
        ({ABORT_FAILOVER: "true"}, "NothingToAbort"),
        ({ABORT_FAILOVER: "perhaps"}, "InvalidAnnotation"),
        ({FAILOVER_TO: "mars", FAILOVER_MODE: "forced"}, "UnknownRegion"),
        ({FAILOVER_MODE: "forced"}, "InvalidAnnotation"),
        ({FAILOVER_MODE: "gently"}, "InvalidAnnotation"),
        ({ACCEPT_DATA_LOSS: "7"}, "InvalidAnnotation"),
        ({ACCEPT_DATA_LOSS: "all"}, "InvalidAnnotation"),
        ({PAUSED: "maybe"}, "InvalidAnnotation"),
    ):
        world = fresh()
        world.annotations = dict(asked)
        world.settle()
        assert world.annotations == {}, annotations
        assert reasons(world).count(reason) == 1, annotations
        assert condition(world, "RequestAccepted")["reason"] == reason
        assert world.status["primaryRegion"] == "us-east"
        assert world.demotions == []


def test_a_request_is_refused_while_a_region_is_not_well() -> None:
    for broken, text in (("us-east", "primary region us-east has no leader"), ("eu-west", "eu-west has no leader")):
        world = fresh()
        world.lose(broken)
        world.annotations[FAILOVER_TO] = "eu-west"
        world.settle()
        assert world.annotations == {}
        assert text in condition(world, "RequestAccepted")["message"]
        assert world.demotions == []


def test_a_dry_run_changes_nothing_and_says_what_would_happen() -> None:
    world = fresh()
    world.annotations[FAILOVER_DRY_RUN] = "eu-west"
    world.settle()
    assert world.annotations == {}
    assert condition(world, "DryRun")["status"] == "True"
    assert "epoch 2" in condition(world, "DryRun")["message"]
    assert world.demotions == []
    world.regions["eu-west"].up = False
    world.annotations[FAILOVER_DRY_RUN] = "eu-west"
    world.settle()
    assert condition(world, "DryRun")["status"] == "False"


def test_a_misspelt_annotation_is_reported_once_for_each_value_and_stays() -> None:
    world = fresh()
    misspelt = "replicatedstore.io/failovr-to"
    for value in ("eu-west", "ap-south"):
        world.annotations[misspelt] = value
        for _ in range(3):
            assert world.step(seconds=1).actions == ()
    assert world.annotations == {misspelt: "ap-south"}
    assert reasons(world).count("UnknownAnnotation") == 2
    found = condition(world, "UnknownAnnotation")
    assert found["status"] == "True"
    assert found["message"] == f"{misspelt}=ap-south is not known and does nothing; did you mean {FAILOVER_TO}?"
    assert world.status["phase"] == "Steady"
    del world.annotations[misspelt]
    world.settle()
    assert condition(world, "UnknownAnnotation") == {}
    assert reasons(world).count("UnknownAnnotation") == 2


def test_annotations_of_others_are_none_of_our_business() -> None:
    assert unknown_annotations({"example.com/failover-to": "x", "replicatedstore.io/kopf-managed": "yes"}) == ""
    assert unknown_annotations(dict.fromkeys(REQUESTS, "x")) == ""
    far = unknown_annotations({"replicatedstore.io/colour": "v" * 1000})
    assert "known are failover-to, " in far
    assert len(far) < 250


NO_EPOCH = ("²", "1²", "٣", "9" * 5000, "0x1", "1_0", "+1", "-1", " 1", "1\n", "01", "1.0", "", "9" * 20)


@pytest.mark.parametrize("value", NO_EPOCH)
def test_an_epoch_that_is_no_plain_number_is_refused_and_nothing_stops(value: str) -> None:
    world = fresh()
    world.annotations[ACCEPT_DATA_LOSS] = value
    world.settle()
    assert world.annotations == {}
    assert condition(world, "RequestAccepted")["reason"] == "InvalidAnnotation"
    assert len(condition(world, "RequestAccepted")["message"]) < 200
    world.annotations[FAILOVER_TO] = "eu-west"
    world.settle()
    assert world.status["primaryRegion"] == "eu-west", "it stops nothing"


def test_a_request_of_which_a_part_is_wrong_is_refused_whole() -> None:
    for asked in (
        {FAILOVER_TO: "eu-west", FAILOVER_MODE: "bogus"},
        {FAILOVER_TO: "eu-west", FAILOVER_MODE: "Forced"},
        {FAILOVER_TO: "eu-west", FAILOVER_MODE: ""},
        {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced", ACCEPT_DATA_LOSS: "²"},
        {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced", ACCEPT_DATA_LOSS: "7"},
        {FAILOVER_TO: "eu-west", ACCEPT_DATA_LOSS: "all"},
        {FAILOVER_TO: "mars", FAILOVER_MODE: "forced", ACCEPT_DATA_LOSS: "1"},
        {FAILOVER_MODE: "forced", ACCEPT_DATA_LOSS: "1"},
    ):
        world = fresh()
        world.annotations = dict(asked)
        world.settle()
        assert world.annotations == {}, asked
        assert world.demotions == [], asked
        assert world.status["primaryRegion"] == "us-east", asked
        assert condition(world, "RequestAccepted")["status"] == "False", asked


def test_a_wrong_mode_beside_the_request_that_is_being_done_does_not_call_it_off() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.step()
    world.annotations[FAILOVER_MODE] = "bogus"
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"
    assert world.annotations == {}


def test_a_dry_run_that_is_refused_replaces_the_answer_to_the_one_before() -> None:
    world = fresh()
    world.annotations[FAILOVER_DRY_RUN] = "eu-west"
    world.settle()
    world.annotations[FAILOVER_DRY_RUN] = "mars"
    world.settle()
    assert condition(world, "DryRun")["status"] == "False"
    assert "mars" in condition(world, "DryRun")["message"]


def test_answers_do_not_outlive_what_they_speak_of() -> None:
    world = fresh()
    world.annotations[FAILOVER_DRY_RUN] = "eu-west"
    world.settle()
    world.annotations[FAILOVER_TO] = "mars"
    world.settle()
    assert condition(world, "DryRun") == {}, "a later request has been answered"
    assert condition(world, "RequestAccepted")["reason"] == "UnknownRegion"
    world.annotations[FAILOVER_DRY_RUN] = "eu-west"
    world.settle()
    assert condition(world, "RequestAccepted") == {}
    assert condition(world, "DryRun")["status"] == "True"


def test_a_dry_run_is_not_answered_for_longer_than_the_epoch() -> None:
    dry_run, diverged = (Condition(kind, "True", "Possible", "", 1, START) for kind in ("DryRun", "Diverged"))
    assert merge((dry_run, diverged), [], generation=1, now=START) == (dry_run, diverged)
    assert merge((dry_run, diverged), [], generation=1, now=START, new_epoch=True) == (diverged,)
