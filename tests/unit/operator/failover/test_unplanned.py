"""The unplanned failover: by itself, forced, blocked, crashed at every step, by two operators."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
from rstore_api.domain.kubernetes import ABORT_FAILOVER, ACCEPT_DATA_LOSS, FAILOVER_DRY_RUN, FAILOVER_MODE, FAILOVER_TO
from rstore_operator.facts.observed import FenceAnswer
from rstore_operator.failover.choice import ranked
from unit.operator.lossy_world import LossyWorld, clone, running
from unit.operator.world import begin_and_hold_back


@functools.cache
def _template(kind: str) -> LossyWorld:
    return {
        "three": running,
        "two": lambda: running([("us-east", 1), ("eu-west", 1)]),
        "manual": lambda: running(policy="Manual"),
    }[kind]()


def fresh(kind: str = "three") -> LossyWorld:
    return clone(_template(kind))


def condition(world: LossyWorld, kind: str) -> dict:
    return next(found for found in world.status["conditions"] if found["type"] == kind)


def reasons(world: LossyWorld) -> list[str]:
    return [reason for reason, _ in world.events]


def step_of(world: LossyWorld) -> str | None:
    return world.status.get("failover", {}).get("step")


def test_a_lost_primary_region_is_replaced_and_rejoins() -> None:
    world = fresh()
    world.regions["ap-south"].linked = False  # eu-west has more
    world.run(1)
    world.kill("us-east")
    world.regions["ap-south"].linked = True
    lost_at = world.seconds
    while world.status["primaryRegion"] == "us-east":
        world.run(0.1)
        assert world.seconds - lost_at < 8
    assert world.status["primaryRegion"] == "eu-west", "it has most data"
    world.run(2)
    assert step_of(world) is None
    receipt = world.status["history"][-1]
    assert (receipt["mode"], receipt["trigger"], receipt["from"], receipt["to"], receipt["epoch"]) == (
        "Automatic", "PrimaryLost", "us-east", "eu-west", 2,
    )  # fmt: skip
    assert [step["name"] for step in receipt["steps"]] == ["Fencing", "Waiting", "Promoting", "Repointing"]
    assert 2 <= receipt["writeGapSeconds"] <= 6
    assert world.write()
    world.revive("us-east")
    world.run(3)
    world.check_nothing_vanished()
    assert world.status["phase"] == "Steady"
    assert world.regions["us-east"].log == world.regions["eu-west"].log
    for reason in ("FailoverFencing", "FailoverWaiting", "FailoverPromoting", "FailoverSucceeded"):
        assert reasons(world).count(reason) == 1, reason


def test_what_was_lost_is_on_the_receipt_once_the_region_is_back() -> None:
    world = fresh()
    for name in ("eu-west", "ap-south"):
        world.regions[name].linked = False
    world.run(0.5)
    lost = len(world.regions["us-east"].log) - len(world.regions["eu-west"].log)
    assert lost > 0
    world.kill("us-east")
    for name in ("eu-west", "ap-south"):
        world.regions[name].linked = True
    world.run(8)
    assert world.status["primaryRegion"] != "us-east"
    world.revive("us-east")
    world.run(3)
    world.check_nothing_vanished()
    assert world.status["history"][-1]["revisionsLost"] == lost == len(world.quarantine)
    region = next(found for found in world.status["regions"] if found["name"] == "us-east")
    assert region["quarantined"][0]["rows"] == lost
    assert reasons(world).count("TailQuarantined") == 1


def test_nothing_is_promoted_before_the_wait_is_over() -> None:
    """The primary is cut off from the operator only: its tenure is renewed, and nothing happens at all."""
    world = fresh()
    world.regions["us-east"].up = False
    world.run(10)
    assert world.status["epoch"] == 1
    assert step_of(world) is None
    assert condition(world, "FailoverBlocked")["reason"] == "TenureInDoubt"
    assert world.write(), "it goes on acknowledging"
    world.regions["us-east"].up = True
    world.run(1)
    assert condition(world, "FailoverBlocked")["status"] == "False"
    assert world.status["phase"] == "Steady"


def test_a_primary_that_is_cut_off_from_everybody_stops_before_another_takes_over() -> None:
    world = fresh()
    world.regions["us-east"].up = False
    world.cut.add("us-east")
    world.run(12)  # write() and the promotion check that two never acknowledge
    assert world.status["primaryRegion"] != "us-east"
    world.cut.clear()
    world.regions["us-east"].up = True
    world.run(3)
    world.check_nothing_vanished()
    assert not world.regions["us-east"].primary


def test_without_a_majority_nothing_is_done_and_what_would_help_is_reported() -> None:
    world = fresh()
    world.kill("us-east")
    world.kill("ap-south")
    world.run(10)
    blocked = condition(world, "FailoverBlocked")
    assert (blocked["status"], blocked["reason"]) == ("True", "NoMajority")
    assert "ap-south" in blocked["message"]
    assert all(region.promised == 1 for region in world.regions.values())
    world.revive("ap-south")
    world.run(8)
    assert world.status["primaryRegion"] == "ap-south", "equal data, equal priority: by name"


def test_manual_policy_waits_for_a_person_to_force_it() -> None:
    world = fresh("manual")
    world.kill("us-east")
    world.run(8)
    assert world.status["primaryRegion"] == "us-east"
    assert condition(world, "FailoverBlocked")["reason"] == "PolicyManual"
    world.annotations |= {FAILOVER_TO: "ap-south", FAILOVER_MODE: "forced"}
    world.run(6)
    assert world.status["primaryRegion"] == "ap-south"
    assert world.annotations == {}
    assert world.status["history"][-1]["mode"] == "Forced"


def test_forced_without_loss_names_the_winner_else_it_is_refused_or_accepted() -> None:
    world = fresh("manual")
    world.regions["ap-south"].linked = False
    world.run(0.5)
    world.kill("us-east")
    world.run(0.5)
    world.annotations |= {FAILOVER_TO: "ap-south", FAILOVER_MODE: "forced"}
    world.run(0.5)
    assert world.annotations == {}
    assert step_of(world) is None
    assert reasons(world).count("FailoverRefused") == 1
    world.annotations |= {FAILOVER_TO: "ap-south", FAILOVER_MODE: "forced", ACCEPT_DATA_LOSS: "1"}
    world.run(6)
    assert world.status["primaryRegion"] == "ap-south"
    assert world.annotations == {}


def test_a_forced_failover_that_another_region_had_to_take_says_which_was_asked_for() -> None:
    world = fresh("manual")
    world.kill("us-east")
    world.annotations |= {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced"}
    while step_of(world) != "Promoting":
        world.step()
    world.kill("eu-west")
    world.revive("us-east")
    world.run(15)
    receipt = world.status["history"][-1]
    assert receipt["askedFor"] == "eu-west"
    assert receipt["to"] == world.status["primaryRegion"] != "eu-west"
    assert receipt["outcome"] == "Aborted"
    assert f"eu-west was lost before it was primary; {receipt['to']} has most data" in receipt["reason"]
    assert world.annotations == {}
    assert len(world.status["history"]) == 1


def test_forced_on_a_healthy_primary_is_a_switchover() -> None:
    world = fresh()
    world.annotations |= {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced"}
    world.run(3)
    assert world.status["primaryRegion"] == "eu-west"
    assert world.status["history"][-1]["mode"] == "Planned"
    assert world.annotations == {}
    assert not world.quarantine


def test_a_forced_failover_called_off_while_waiting_makes_the_best_primary() -> None:
    world = fresh("manual")
    world.kill("us-east")
    world.run(0.5)
    world.annotations |= {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced"}
    world.run(1)
    assert step_of(world) == "Waiting"
    world.annotations[ABORT_FAILOVER] = "true"
    world.run(6)
    assert world.status["history"][-1]["outcome"] == "Aborted"
    assert world.annotations == {}
    assert world.status["primaryRegion"] == "ap-south", "equal data, equal priority: by name"


@pytest.mark.parametrize("accepted", [False, True])
def test_the_loss_gate(accepted: bool) -> None:
    world = running(maxDataLoss="0")
    for name in ("eu-west", "ap-south"):
        world.regions[name].linked = False
    world.run(0.5)
    world.kill("us-east")
    world.memory = replace(world.memory, last_leaders={**world.memory.last_leaders, "us-east": _with_lag(world, 5)})
    world.run(6)
    assert step_of(world) is None
    assert condition(world, "FailoverBlocked")["reason"] == "DataLoss"
    if not accepted:
        world.revive("us-east")
        world.run(1)
        assert world.status["epoch"] == 1
        assert world.write()
        return
    world.annotations[ACCEPT_DATA_LOSS] = "1"
    world.run(6)
    assert world.status["epoch"] == 2
    assert world.annotations == {}


def _with_lag(world: LossyWorld, size: int):
    leader = world.memory.last_leaders["us-east"]
    return replace(leader, progress=tuple(replace(item, lag_bytes=size) for item in leader.progress))


def test_a_dry_run_tells_the_winner_and_changes_nothing() -> None:
    world = fresh("manual")
    world.kill("us-east")
    world.run(0.5)
    world.annotations[FAILOVER_DRY_RUN] = "eu-west"
    world.run(0.5)
    assert world.annotations == {}
    reported = [message for reason, message in world.events if reason == "DryRun"]
    assert len(reported) == 1
    assert "ap-south would win" in reported[0]
    assert "may lose" in reported[0]
    assert all(region.promised == 1 for region in world.regions.values())


# ---------------------------------------------------------------------------------------------- the witness
def test_with_two_regions_the_operator_is_the_witness() -> None:
    world = fresh("two")
    world.kill("eu-west")
    world.run(6)
    assert world.write(), "the witness grants to the primary"
    world.revive("eu-west")
    world.run(1)
    world.kill("us-east")
    world.run(10)
    assert world.status["primaryRegion"] == "eu-west"
    assert world.status["promisedEpoch"] == 2
    world.run(3)
    assert world.write(), "and to the new one"


def test_the_witness_promise_is_waited_for_a_whole_tenure() -> None:
    world = fresh("two")
    world.kill("us-east")
    while step_of(world) is None:
        world.run(0.1)
    fenced_at = world.seconds
    while world.status["primaryRegion"] == "us-east":
        world.run(0.1)
    assert world.seconds - fenced_at >= 3.0


# ---------------------------------------------------------------------------------------------- out of a switchover
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("dies", ["us-east", "eu-west"])
def test_a_switchover_that_loses_a_region_comes_to_a_good_end(steps: int, dies: str) -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.regions["eu-west"].linked = steps > 2
    for _ in range(steps):
        world.write()
        world.step()
    world.kill(dies)
    world.run(45)
    assert step_of(world) is None, world.status["failover"]
    assert world.status["primaryRegion"] != dies
    assert world.write()
    world.revive(dies)
    world.regions["eu-west"].linked = True
    world.run(4)
    world.check_nothing_vanished()
    assert world.status["phase"] == "Steady"
    assert world.annotations == {}


def test_a_switchover_goes_on_when_the_source_is_back_in_time() -> None:
    world = fresh()
    begin_and_hold_back(world, "eu-west")
    world.step()
    assert step_of(world) == "CatchingUp"
    world.kill("us-east")
    world.run(1)
    world.revive("us-east")
    world.regions["eu-west"].linked = True
    world.run(3)
    assert world.status["history"][-1]["mode"] == "Planned"
    assert world.status["primaryRegion"] == "eu-west"
    assert not world.quarantine


# ---------------------------------------------------------------------------------------------- crashes
@pytest.mark.parametrize("before_actions", [False, True], ids=["after acting", "between recording and acting"])
@pytest.mark.parametrize("crash_at", [0, 1, 2, 3, 5, 10, 20, 28, 30, 31, 32, 33, 34])
def test_a_crash_at_any_moment_is_resumed(crash_at: int, before_actions: bool) -> None:
    world = fresh()
    world.kill("us-east")
    world.resume_after_a_crash(crash_at, before_actions=before_actions)
    assert world.status["epoch"] == 2
    assert len(world.status["history"]) == 1
    assert world.write()


def test_a_chosen_region_that_is_lost_before_it_is_primary_is_replaced_in_a_new_epoch() -> None:
    world = fresh()
    world.kill("us-east")
    while step_of(world) != "Promoting":
        decided = world.decide()
        assert world.record(decided, world.version)
        if step_of(world) != "Promoting":
            world.act(decided)
            world.run(0.1)
    chosen = world.status["failover"]["to"]
    world.kill(chosen)
    world.run(1)
    world.revive("us-east")  # or there is no majority
    world.run(12)
    assert step_of(world) is None
    assert world.status["epoch"] == 3
    world.revive(chosen)
    world.run(4)
    world.check_nothing_vanished()


def test_failback_is_a_switchover_to_the_preferred_region() -> None:
    world = running(failback="Automatic")
    world.kill("us-east")
    world.run(10)
    assert world.status["primaryRegion"] != "us-east"
    world.revive("us-east")
    world.run(16)
    assert world.status["primaryRegion"] == "us-east"
    assert [receipt["trigger"] for receipt in world.status["history"]] == ["PrimaryLost", "Failback"]


def test_the_choice() -> None:
    def at(name: str, epoch: int, revision: int) -> FenceAnswer:
        return FenceAnswer(name, 9, epoch, revision, 0.0)

    priorities = {"a": 10, "b": 5, "c": 10, "d": 1}
    order = ranked([at("a", 2, 7), at("b", 2, 7), at("c", 1, 900), at("d", 0, 999), at("e", 3, 1)], priorities)
    assert [found.region for found in order] == ["b", "a", "c"]


def empty(world: LossyWorld, name: str) -> None:
    """All volumes of a region are gone, and its pods are back at once."""
    region = world.regions[name]
    region.store_id, region.epoch, region.promised, region.primary = "", 0, 0, False
    region.topology, region.log = None, []
    world.tenures.held.pop(name, None)
    world.tenures.granted.pop(name, None)


@pytest.mark.parametrize("kind", ["three", "two"])
def test_a_primary_region_that_comes_back_empty_before_it_is_missed_is_replaced_and_refilled(kind: str) -> None:
    world = fresh(kind)
    world.run(1)
    assert world.write()
    world.run(1)
    empty(world, "us-east")
    world.run(12)
    receipt = world.status["history"][-1]
    assert (receipt["mode"], receipt["trigger"], receipt["from"]) == ("Automatic", "PrimaryLost", "us-east")
    assert receipt["writeGapSeconds"] > 0
    assert world.write()
    world.run(3)
    world.check_nothing_vanished()
    assert world.status["phase"] == "Steady"
    assert world.regions["us-east"].log == world.regions[receipt["to"]].log


def test_an_empty_primary_region_waits_for_a_person_when_the_policy_is_manual() -> None:
    world = fresh("manual")
    world.run(1)
    empty(world, "us-east")
    world.run(12)
    assert world.status["primaryRegion"] == "us-east"
    assert condition(world, "FailoverBlocked")["reason"] == "PolicyManual"
