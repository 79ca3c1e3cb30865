"""The planned switchover: step by step, crashed at every point, run by two operators, aborted, timed out."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.domain.kubernetes import ABORT_FAILOVER, FAILOVER_TO
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Staged
from rstore_operator.failover.planned import (
    MOVES,
    DemoteCommand,
    InvariantError,
    Patience,
    PromoteCommand,
    advance,
    begin,
    check_command,
    check_move,
)
from rstore_operator.resource.state import Step, Trigger
from unit.operator.world import SPEC, START, World, begin_and_hold_back


def running() -> World:
    world = World()
    world.settle()
    for _ in range(5):
        world.write()
    world.replicate()
    world.settle()
    return world


RUNNING = running()


def fresh() -> World:
    return copy.deepcopy(RUNNING)


def step_of(world: World) -> str | None:
    return world.status.get("failover", {}).get("step")


def test_the_annotation_moves_the_primary_and_loses_nothing() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    for _ in range(12):
        world.write()
        world.step()
        world.check()
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"
    assert world.status["epoch"] == 2
    assert world.annotations == {}
    assert "failover" not in world.status
    receipt = world.status["history"][-1]
    assert (receipt["outcome"], receipt["from"], receipt["to"], receipt["epoch"]) == (
        "Succeeded", "us-east", "eu-west", 2,
    )  # fmt: skip
    assert [step["name"] for step in receipt["steps"]] == ["Demoting", "CatchingUp", "Promoting", "Repointing"]
    assert receipt["writeGapSeconds"] >= 0
    selector = world.children[("Service", "orders")]["spec"]["selector"]
    assert selector["replicatedstore.io/region"] == "eu-west"
    assert all(region.topology.primary_region == "eu-west" for region in world.regions.values())
    assert world.write()
    reasons = [reason for reason, _ in world.events]
    for step in ("Demoting", "CatchingUp", "Promoting", "Repointing", "Succeeded"):
        assert reasons.count(f"Switchover{step}") == 1, step


def test_the_intent_is_persisted_before_the_primary_is_demoted() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    decided = world.decide()
    assert decided.commit_first
    assert [type(action).__name__ for action in decided.actions] == ["Demote"]
    assert decided.status.failover is not None
    assert decided.status.failover.step is Step.DEMOTING
    assert decided.status.failover.epoch == 2


def test_the_target_is_promoted_only_with_the_final_revision_and_after_the_step_is_persisted() -> None:
    world = fresh()
    begin_and_hold_back(world, "eu-west")
    for _ in range(5):
        decided = world.step()
        assert not any(type(action).__name__ == "Promote" for action in decided.actions)
    assert step_of(world) == "CatchingUp"
    assert world.status["failover"]["finalRevision"] == world.regions["us-east"].revision
    world.regions["eu-west"].linked = True
    world.replicate()
    decided = world.decide()
    assert decided.commit_first
    assert [type(action).__name__ for action in decided.actions] == ["Promote"]
    assert decided.actions[0].min_revision == world.regions["us-east"].revision


def test_a_target_that_lacks_the_history_of_the_last_epoch_is_not_promoted() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.step()
    world.regions["eu-west"].linked = False
    world.regions["eu-west"].epoch = 0
    for _ in range(3):
        world.step()
    assert step_of(world) == "CatchingUp"


@pytest.mark.parametrize("before_actions", [False, True], ids=["after acting", "between recording and acting"])
@pytest.mark.parametrize("crash_at", range(8))
def test_a_crash_at_any_step_is_resumed(crash_at: int, before_actions: bool) -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    for _ in range(crash_at):
        world.write()
        world.step()
    decided = world.decide()
    assert world.record(decided, world.version)
    if not before_actions:
        for action in decided.actions[:1]:  # only the first of them got through
            world.do(action)
    world.crash_and_resume()
    for _ in range(10):
        world.write()
        world.step()
        world.check()
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"
    assert "failover" not in world.status
    assert len(world.status["history"]) == 1
    assert world.annotations == {}
    world.check()


def test_editing_the_spec_moves_the_primary_once() -> None:
    world = fresh()
    world.spec = {**SPEC, "primaryRegion": "ap-south"}
    world.generation += 1
    world.settle()
    assert world.status["primaryRegion"] == "ap-south"
    assert world.status["history"][-1]["trigger"] == "Spec"
    world.annotations[FAILOVER_TO] = "us-east"  # away from what the spec prefers
    world.settle()
    for _ in range(5):
        world.step()
    assert world.status["primaryRegion"] == "us-east", "it must not fall back by itself"
    assert len(world.status["history"]) == 2


def test_a_spec_edit_waits_until_the_target_is_well() -> None:
    world = fresh()
    world.regions["ap-south"].up = False
    world.spec = {**SPEC, "primaryRegion": "ap-south"}
    world.settle()
    condition = next(c for c in world.status["conditions"] if c["type"] == "FailoverBlocked")
    assert condition["status"] == "True"
    assert "ap-south has no leader" in condition["message"]
    assert world.demotions == []
    world.regions["ap-south"].up = True
    world.settle()
    assert world.status["primaryRegion"] == "ap-south"


def test_a_target_that_does_not_catch_up_in_time_leaves_the_old_primary_in_charge() -> None:
    world = fresh()
    begin_and_hold_back(world, "eu-west")
    world.step()
    assert not world.write(), "demoted"
    for _ in range(4):
        world.step(seconds=10)
        world.check()
    world.settle()
    assert world.status["primaryRegion"] == "us-east"
    assert world.status["epoch"] == 2
    assert world.write()
    receipt = world.status["history"][-1]
    assert receipt["outcome"] == "Aborted"
    assert "eu-west has come no nearer to revision 7 for 2 s" in receipt["reason"]
    assert world.annotations == {}, "or it would begin again"
    assert "SwitchoverAborted" in [reason for reason, _ in world.events]
    world.check()


def test_writers_wait_for_a_target_that_does_not_run_no_longer_than_for_a_failover() -> None:
    """Its processes are stopped right after the old primary was asked to stop."""
    world = fresh()
    begin_and_hold_back(world, "eu-west")
    world.regions["eu-west"].up = False
    while step_of(world):
        world.step()
        world.check()
    receipt = world.status["history"][-1]
    assert (receipt["outcome"], world.status["primaryRegion"], world.status["epoch"]) == ("Aborted", "us-east", 2)
    assert receipt["writeGapSeconds"] <= 2.5, "failoverDelay is 2 s"
    assert world.write()


def test_a_target_that_comes_nearer_is_waited_for_until_the_timeout() -> None:
    world = fresh()
    for _ in range(60):
        world.write()
    begin_and_hold_back(world, "eu-west")
    source, target = world.regions["us-east"], world.regions["eu-west"]
    while step_of(world):
        world.step(seconds=1.0)
        target.log = source.log[: len(target.log) + 1]
    receipt = world.status["history"][-1]
    assert "eu-west is behind after 30 s" in receipt["reason"]
    world.check()


@pytest.mark.parametrize("crash", [False, True])
def test_a_standstill_counts_from_the_last_progress_that_this_operator_saw(crash: bool) -> None:
    world = fresh()
    begin_and_hold_back(world, "eu-west")
    for _ in range(15):
        world.step()
    if crash:
        world.memory = Memory()
    for _ in range(12):
        world.step()
    assert step_of(world) == ("CatchingUp" if crash else None)


@pytest.mark.parametrize("staged", [True, False])
def test_a_snapshot_that_grows_is_progress(staged: bool) -> None:
    world = fresh()
    begin_and_hold_back(world, "eu-west")
    for rows in range(40):
        world.regions["eu-west"].staged = Staged(99, rows if staged else 7)
        world.step()
    assert (step_of(world) == "CatchingUp") is staged


def test_a_target_that_is_ready_is_promoted_although_the_operator_was_away_too_long() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.step(seconds=600)
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"


@pytest.mark.parametrize("steps_before", [1, 2])
def test_abort_before_promoting(steps_before: int) -> None:
    world = fresh()
    begin_and_hold_back(world, "eu-west")
    for _ in range(steps_before):
        world.step()
    world.annotations[ABORT_FAILOVER] = "true"
    world.settle()
    assert world.status["primaryRegion"] == "us-east"
    assert world.status["history"][-1]["outcome"] == "Aborted"
    assert world.annotations == {}
    assert world.write()
    world.check()


def test_abort_after_promoting_is_too_late() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    while step_of(world) != "Promoting":
        world.step()
    world.annotations[ABORT_FAILOVER] = "true"
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"
    assert "TooLateToAbort" in [reason for reason, _ in world.events]
    assert world.annotations == {}


def test_a_region_that_is_down_does_not_hold_up_the_switchover_and_learns_later() -> None:
    world = fresh()
    world.regions["ap-south"].up = False
    world.annotations[FAILOVER_TO] = "eu-west"
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"
    assert world.regions["ap-south"].topology.epoch == 1
    world.regions["ap-south"].up = True
    world.settle()
    assert world.regions["ap-south"].topology.primary_region == "eu-west"


def test_status_that_was_lost_is_rebuilt_from_the_regions() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.settle()
    store_id = world.status["storeId"]
    world.status = {}
    world.settle()
    assert world.status["storeId"] == store_id
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("eu-west", 2)
    assert world.status.get("history") is None, "nothing was moved"


def test_a_request_that_could_not_be_taken_off_keeps_the_switchover_open() -> None:
    """Or a crash right after the receipt would begin it once more, or call the finished one nonsense."""
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    for _ in range(8):
        world.step()
        world.annotations[FAILOVER_TO] = "eu-west"  # the removal failed
    assert step_of(world) == "Repointing"
    del world.annotations[FAILOVER_TO]
    world.settle()
    assert len(world.status["history"]) == 1


@pytest.mark.parametrize("step", ["Demoting", "CatchingUp", "Promoting", "Reverting"])
def test_an_intent_of_the_past_is_closed_and_changes_nothing(step: str) -> None:
    """Status restored from an old copy."""
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.step()
    old = copy.deepcopy(world.status)
    world.settle()
    world.annotations[FAILOVER_TO] = "ap-south"
    world.settle()
    assert world.status["epoch"] == 3
    demotions = list(world.demotions)
    world.status = old
    world.status["failover"] |= {"step": step, "finalRevision": 6}
    world.settle()
    assert "failover" not in world.status
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("ap-south", 3)
    assert "overtaken" in world.status["history"][-1]["reason"]
    assert world.demotions == demotions
    assert world.write()


def test_two_operators_cannot_both_move_on() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    version = world.version
    first, second = world.decide(), world.decide()
    assert world.record(first, version)
    assert not world.record(second, version)


@settings(max_examples=250)
@given(data=st.data())
def test_whatever_happens_one_epoch_has_one_primary_and_nothing_acknowledged_is_lost(data: st.DataObject) -> None:
    """Two operators that crash and look at old versions, regions that come and go, requests of every kind."""
    world = fresh()
    world.compare_objects = False
    pending: list[tuple[int, object]] = []
    late: list[object] = []
    moves = (
        "step",
        "look",
        "record",
        "late",
        "write",
        "replicate",
        "down",
        "up",
        "unlink",
        "link",
        "ask",
        "abort",
        "wait",
    )
    for move in data.draw(st.lists(st.sampled_from(moves), min_size=10, max_size=60)):
        regions = [world.regions[name] for name in sorted(world.regions)]
        if move == "step":
            world.step()
        elif move == "look":
            pending.append((world.version, world.decide()))
        elif move == "record" and pending:
            version, decided = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
            if not decided.commit_first or world.record(decided, version):  # type: ignore[attr-defined]
                late += decided.actions  # type: ignore[attr-defined]
        elif move == "late" and late:
            action = late.pop(data.draw(st.integers(0, len(late) - 1)))
            if type(action).__name__ in ("Demote", "Promote", "PushTopology"):
                world.do(action)
        elif move == "write":
            world.write()
        elif move == "replicate":
            world.replicate()
        elif move == "down":
            data.draw(st.sampled_from(regions)).up = False
        elif move == "up":
            data.draw(st.sampled_from(regions)).up = True
        elif move in ("link", "unlink"):
            data.draw(st.sampled_from(regions)).linked = move == "link"
        elif move == "ask":
            world.annotations[FAILOVER_TO] = data.draw(st.sampled_from(["us-east", "eu-west", "ap-south", "nowhere"]))
        elif move == "abort":
            world.annotations[ABORT_FAILOVER] = "true"
        elif move == "wait":
            world.step(seconds=31)
        world.check()
    for region in world.regions.values():
        region.up = region.linked = True
    world.settle(rounds=80)
    world.check()
    assert "failover" not in world.status
    assert world.write(), "the store accepts writes again"
    world.replicate()
    assert all(region.log[: len(world.acked)] == world.acked for region in world.regions.values())


def test_the_table_of_moves_is_enforced() -> None:
    intent = begin(Trigger.ANNOTATION, "a", "b", epoch=3, highest_epoch=5, now=START)
    assert intent.epoch == 6
    from msgspec.structs import replace

    for target in Step:
        moved = replace(intent, step=target, final_revision=9)
        if target in MOVES[intent.step]:
            check_move(intent, moved)
        else:
            with pytest.raises(InvariantError):
                check_move(intent, moved)
    with pytest.raises(InvariantError):
        check_move(intent, replace(intent, step=Step.CATCHING_UP, epoch=7))
    promoting = replace(intent, step=Step.PROMOTING, final_revision=9)
    with pytest.raises(InvariantError):
        check_move(promoting, replace(promoting, step=Step.REVERTING, aborted=True))
    check_command(promoting, PromoteCommand("b", 6, 9))
    for wrong in (
        PromoteCommand("a", 6, 9),
        PromoteCommand("b", 6, 8),
        PromoteCommand("b", 7, 9),
        DemoteCommand("a", 6),
    ):
        with pytest.raises(InvariantError):
            check_command(promoting, wrong)
    with pytest.raises(InvariantError):
        begin(Trigger.SPEC, "a", "a", epoch=1, highest_epoch=1, now=START)


def test_advance_without_any_news_repeats_the_command() -> None:
    world = fresh()
    intent = begin(Trigger.ANNOTATION, "us-east", "eu-west", epoch=1, highest_epoch=1, now=world.now)
    for _ in range(2):
        progressed = advance(
            intent, world.observed(), now=world.now, patience=Patience(30_000, 2_000), abort=False, announced=False
        )
        assert progressed.intent == intent
        assert progressed.command == DemoteCommand("us-east", 2)
