"""A primary that the operator reaches and the other regions do not: it acknowledges nothing, and is replaced once."""

from __future__ import annotations

import functools

import pytest
from rstore_api.domain.kubernetes import ACCEPT_DATA_LOSS, FAILOVER_DRY_RUN, FAILOVER_MODE, FAILOVER_TO
from rstore_operator.facts.memory import Memory
from unit.operator.failover.test_unplanned import condition, reasons, step_of
from unit.operator.lossy_world import LossyWorld, clone, running, semi_sync
from unit.operator.world import begin_and_hold_back


@functools.cache
def _template(kind: str) -> LossyWorld:
    return {
        "three": running,
        "two": lambda: running([("us-east", 1), ("eu-west", 1)]),
        "four": lambda: running([(name, 1) for name in ("us-east", "eu-west", "ap-south", "sa")]),
        "manual": lambda: running(policy="Manual"),
        "gate": lambda: running(maxDataLoss="10"),
        "semi sync": lambda: semi_sync(["us-east", "eu-west", "ap-south"]),
        "degrading": lambda: semi_sync(["us-east", "eu-west", "ap-south"], onTimeout="Degrade"),
    }[kind]()


def fresh(kind: str = "three") -> LossyWorld:
    return clone(_template(kind))


def cut_off(world: LossyWorld, *regions: str, tail: bool = True) -> None:
    """Nothing of theirs reaches the others any more; the tenure runs on for a moment, and so do acknowledgements."""
    world.cut |= set(regions)
    if tail:
        for _ in range(5):
            world.write()


@pytest.mark.parametrize("kind", ["three", "two"])
def test_one_whose_volumes_went_back_in_time_is_replaced_by_a_region_that_has_what_it_lost(kind: str) -> None:
    world = fresh(kind)
    for _ in range(5):
        assert world.write()
        world.run(0.1)
    assert len(world.regions["eu-west"].log) == len(world.regions["us-east"].log)
    del world.regions["us-east"].log[-3:]
    newest = world.regions["eu-west"].revision
    assert not world.write(), "its revision would mean two things"
    world.run(4)
    receipt = world.status["history"][-1]
    assert (receipt["mode"], receipt["outcome"], receipt["from"]) == ("Automatic", "Succeeded", "us-east")
    assert receipt["revisionsLost"] == 0
    assert f"us-east has lost revision {newest}, which another region holds" in receipt["reason"]
    assert world.write()
    world.run(3)
    assert world.regions["us-east"].log == world.regions["eu-west"].log


def test_one_that_lost_data_and_may_not_be_replaced_says_so() -> None:
    world = fresh("manual")
    assert world.write()
    world.run(0.5)
    world.regions["us-east"].log.pop()
    world.run(4)
    ready = condition(world, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NoTenure")
    assert "it has lost revision" in ready["message"]


@pytest.mark.parametrize("kind", ["three", "four"])
def test_it_is_replaced_and_what_it_alone_holds_is_counted(kind: str) -> None:
    world = fresh(kind)
    cut_off(world, "us-east")
    cut_at = world.seconds
    while step_of(world) is None:
        world.run(0.1)
        assert world.seconds - cut_at < 6
    assert world.status["failover"]["cutOff"] is True
    alone = len(world.regions["us-east"].log) - len(world.regions["eu-west"].log)
    assert alone > 5
    world.run(3)
    receipt = world.status["history"][-1]
    assert (receipt["mode"], receipt["trigger"], receipt["outcome"]) == ("Automatic", "LeaseLost", "Succeeded")
    assert (receipt["from"], receipt["to"]) == ("us-east", "ap-south")
    assert receipt["revisionsLost"] == alone, "exact, as the region that is left says so itself"
    assert receipt["writeGapSeconds"] >= 2
    assert "us-east is cut off" in receipt["reason"]
    assert world.write()
    world.cut.clear()
    world.run(3)
    world.check_nothing_vanished()
    assert len(world.quarantine) == alone
    assert world.status["phase"] == "Steady"
    for reason in ("FailoverFencing", "FailoverPromoting", "FailoverSucceeded"):
        assert reasons(world).count(reason) == 1, reason


def test_when_no_region_reaches_another_it_is_replaced_once_at_most() -> None:
    world = fresh()
    cut_off(world, *world.regions)
    world.run(90)
    assert world.status["epoch"] <= 2, "nobody granted in the new epoch"
    ready = condition(world, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NoTenure")
    assert world.status["phase"] == "Degraded"
    world.cut.clear()
    world.run(4)
    assert world.status["phase"] == "Steady"
    assert world.write()
    world.check_nothing_vanished()


def test_a_tenure_that_is_renewed_too_late_is_reported_and_no_reason_to_replace() -> None:
    world = fresh()
    world.late.add("us-east")
    world.run(20)
    assert world.status["epoch"] == 1
    ready = condition(world, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NoTenure")
    assert "leaseDuration (3 s) must be more than three times the longest round trip" in ready["message"]
    assert reasons(world).count("NoTenure") == 1
    world.memory = Memory()
    world.run(1)
    assert condition(world, "Ready")["reason"] == "NoTenure", "a new operator does not take it back"
    world.late.clear()
    world.run(1)
    assert condition(world, "Ready")["status"] == "True"
    assert reasons(world).count("TenureHeld") == 1
    assert reasons(world).count("NoTenure") == 1


def test_with_two_regions_the_witness_renews_and_nothing_happens() -> None:
    world = fresh("two")
    cut_off(world, "us-east")
    world.run(20)
    assert world.status["epoch"] == 1
    assert condition(world, "Ready")["status"] == "True"
    assert world.write()


def test_a_voter_that_knows_nothing_does_not_count() -> None:
    world = fresh()
    cut_off(world, "us-east")
    world.run(1)
    del world.tenures.granted["eu-west"]  # a new leader there
    world.run(15)
    assert world.status["epoch"] == 1
    assert condition(world, "Ready")["reason"] == "NoTenure"
    assert "ap-south, eu-west did not renew it" in condition(world, "Ready")["message"]


def test_ready_stays_true_through_a_switchover_and_a_short_spell_without_the_tenure() -> None:
    world = fresh()
    seen = set()
    world.annotations[FAILOVER_TO] = "eu-west"
    for _ in range(30):
        world.run(0.1)
        seen.add(condition(world, "Ready")["reason"])
    assert world.status["primaryRegion"] == "eu-west"
    assert seen == {"SwitchingOver", "PrimaryAcceptsWrites"}
    world.tenures.held.clear()  # a new leader in the region has to ask first
    world.late.add("eu-west")
    world.run(1.5)
    world.late.clear()
    world.run(1)
    assert condition(world, "Ready")["status"] == "True"
    assert "NoTenure" not in reasons(world)


def test_a_new_leader_of_the_primary_is_given_time_for_its_first_questions() -> None:
    """The voters were not asked while the region elected a leader; that one has not held the tenure yet."""
    world = fresh()
    world.cut.add("us-east")
    world.run(2.4)
    region = world.regions["us-east"]
    region.leading = 1
    world.tenures.held.clear()
    for _ in range(15):
        world.step()
        assert step_of(world) is None
    world.cut.clear()
    world.run(5)
    assert world.status["epoch"] == 1


@pytest.mark.parametrize("before_actions", [False, True], ids=["after acting", "between recording and acting"])
@pytest.mark.parametrize("crash_at", range(8))
def test_a_crash_at_any_moment_is_resumed(crash_at: int, before_actions: bool) -> None:
    world = fresh()
    cut_off(world, "us-east")
    world.resume_after_a_crash(crash_at, before_actions=before_actions)
    assert (world.status["epoch"], world.status["primaryRegion"]) == (2, "ap-south")
    assert len(world.status["history"]) == 1
    assert world.write()


def test_cut_off_in_the_middle_of_a_switchover_it_is_replaced_once_that_has_come_to_nothing() -> None:
    """Nobody granted in the epoch that it got back; they did before."""
    world = fresh()
    begin_and_hold_back(world, "eu-west")
    cut_off(world, "us-east", tail=False)
    world.run(1)
    assert step_of(world) == "CatchingUp"
    world.run(10)
    assert [receipt["outcome"] for receipt in world.status["history"]] == ["Aborted", "Succeeded"]
    assert world.status["history"][-1]["trigger"] == "LeaseLost"
    assert world.status["primaryRegion"] == "ap-south"
    world.run(30)
    assert world.status["epoch"] == 3
    world.cut.clear()
    world.regions["eu-west"].linked = True
    world.run(3)
    world.check_nothing_vanished()
    assert world.status["phase"] == "Steady"


# ---------------------------------------------------------------------------------------------- what may be lost
def test_semi_sync_loses_nothing_and_what_was_not_acknowledged_does_not_stop_it() -> None:
    world = fresh("semi sync")
    cut_off(world, "us-east")
    world.run(12)
    assert world.status["epoch"] == 2
    assert not world.lost()
    world.cut.clear()
    world.run(3)
    assert not world.lost()


def test_semi_sync_that_had_degraded_waits_for_a_person() -> None:
    world = fresh("degrading")
    for name in ("eu-west", "ap-south"):
        world.regions[name].linked = False
    world.degraded.add("us-east")
    world.run(2)
    cut_off(world, "us-east")
    world.run(10)
    assert (world.status["epoch"], step_of(world)) == (1, None)
    assert condition(world, "FailoverBlocked")["reason"] == "DataLoss"
    world.annotations[ACCEPT_DATA_LOSS] = "1"
    world.run(8)
    assert world.status["epoch"] == 2


class Lagging(LossyWorld):
    """Ten bytes a revision."""

    def _with_tenure(self, replica):
        from dataclasses import replace

        replica = super()._with_tenure(replica)
        lag = tuple(replace(item, lag_bytes=10 * item.lag_revisions) for item in replica.progress)
        return replace(replica, progress=lag)


def test_too_much_to_lose_stops_it_before_anybody_is_fenced() -> None:
    world = fresh("gate")
    world.__class__ = Lagging
    cut_off(world, "us-east")
    world.run(10)
    assert (world.status["epoch"], step_of(world)) == (1, None)
    assert condition(world, "FailoverBlocked")["reason"] == "DataLoss"
    assert all(region.promised == 1 for region in world.regions.values())
    world.cut.clear()
    world.run(2)
    assert world.write()


def test_too_much_to_lose_that_shows_only_later_leaves_the_primary_where_it_is() -> None:
    world = fresh("gate")
    cut_off(world, "us-east")
    while step_of(world) is None:
        world.run(0.1)
    world.__class__ = Lagging
    world.run(30)
    receipt = world.status["history"][-1]
    assert (receipt["outcome"], world.status["primaryRegion"]) == ("Aborted", "us-east")
    assert "maxDataLoss" in receipt["reason"]
    assert len(world.status["history"]) == 1, "it is not tried again and again"
    world.cut.clear()
    world.run(3)
    assert world.write()
    assert not world.quarantine


# ---------------------------------------------------------------------------------------------- by hand
def test_manual_policy_says_what_to_do_and_forced_needs_no_more() -> None:
    world = fresh("manual")
    cut_off(world, "us-east")
    world.run(8)
    assert world.status["epoch"] == 1
    blocked = condition(world, "FailoverBlocked")
    assert blocked["reason"] == "PolicyManual"
    assert "cut off" in blocked["message"]
    world.annotations |= {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced"}
    world.run(2)
    assert world.status["primaryRegion"] == "eu-west"
    receipt = world.status["history"][-1]
    assert (receipt["mode"], receipt["trigger"], receipt["outcome"]) == ("Forced", "Annotation", "Succeeded")
    assert world.annotations == {}


def test_a_switchover_that_cannot_hand_over_is_refused_and_says_so_at_once() -> None:
    world = fresh("manual")
    cut_off(world, "us-east")
    world.run(3.2)
    world.annotations[FAILOVER_TO] = "eu-west"
    world.run(0.2)
    message = condition(world, "FailoverBlocked")["message"]
    assert "holds no tenure, and its last revisions do not reach eu-west" in message
    world.run(8)
    assert world.annotations == {}
    assert reasons(world).count("SwitchoverRefused") == 1
    assert world.status["epoch"] == 1
    assert world.regions["us-east"].promised == 1, "nobody was demoted"


def test_a_dry_run_says_what_a_failover_would_come_to() -> None:
    world = fresh("manual")
    cut_off(world, "us-east")
    world.run(8)
    world.annotations[FAILOVER_DRY_RUN] = "eu-west"
    world.run(0.5)
    reported = [message for reason, message in world.events if reason == "DryRun"]
    assert len(reported) == 1
    assert "us-east holds no tenure and is cut off; a forced failover to eu-west would begin epoch 2" in reported[0]
    assert "by itself ap-south would win" in reported[0]
    assert world.status["epoch"] == 1
