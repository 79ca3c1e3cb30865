"""What a replica waits for that was asked to stop: state in, decision out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rstore_replica.raft.types import GroupStatus, Member, Role
from rstore_replica.replication.config import EndingBounds
from rstore_replica.replication.ending.rules import (
    Standing,
    Step,
    decide,
    is_safe,
    may_commit,
    region_stays,
)
from rstore_replica.replication.sending.progress import RegionProgress

BOUNDS = EndingBounds(drain_seconds=15, settle_seconds=0.2, connect_seconds=3, others_seconds=0.5, move_seconds=2)
HOLDS = RegionProgress("eu-west", connected=True, acked_revision=10)
LAGS = RegionProgress("ap-south", connected=True, acked_revision=4, lag_revisions=6)
AWAY = RegionProgress("eu-west", connected=False, acked_revision=4, lag_revisions=6)
LAST_LEADER = Standing(
    source=True,
    sole=False,
    leads=True,
    in_touch_with_leader=False,
    region_stays=False,
    released=False,
    demoted=False,
    uncommitted=False,
    regions=(HOLDS,),
)
LAST_FOLLOWER = replace(LAST_LEADER, leads=False, in_touch_with_leader=True, regions=())


@pytest.mark.parametrize(
    ("standing", "waited", "safe_for", "step", "safe"),
    [
        # A region that stays: at once, as soon as it is known that nobody else goes; a leader hands on first.
        (replace(LAST_LEADER, region_stays=True), 0.1, None, Step.WAIT, False),
        (replace(LAST_LEADER, region_stays=True), 0.3, None, Step.HAND_ON, False),
        (replace(LAST_FOLLOWER, region_stays=True), 0.3, None, Step.GO, False),
        (replace(LAST_LEADER, region_stays=True, sole=True), 0.0, None, Step.HAND_ON, False),
        (replace(LAST_LEADER, region_stays=True, source=False), 0.0, None, Step.HAND_ON, False),
        # A secondary, or the only region, has nothing to wait for.
        (replace(LAST_LEADER, source=False), 0.0, None, Step.GO, True),
        (replace(LAST_LEADER, sole=True), 0.0, None, Step.GO, False),
        # The last leader: until another region has everything, then until the primary has moved or will not.
        (replace(LAST_LEADER, regions=(LAGS,)), 14.9, None, Step.WAIT, False),
        (replace(LAST_LEADER, regions=(LAGS,)), 15.0, None, Step.GO, False),
        (replace(LAST_LEADER, regions=(HOLDS, LAGS)), 1.0, 0.4, Step.WAIT, True),
        (LAST_LEADER, 1.0, 1.9, Step.WAIT, True),
        (LAST_LEADER, 3.0, 2.0, Step.GO, True),
        (replace(LAST_LEADER, regions=(HOLDS, LAGS)), 3.0, 2.0, Step.GO, True),
        (replace(LAST_LEADER, demoted=True), 3.0, 2.9, Step.WAIT, True),
        (replace(LAST_LEADER, demoted=True), 15.0, 14.9, Step.GO, True),
        # Nobody to send it to: a short wait.
        (replace(LAST_LEADER, regions=(AWAY,)), 2.9, None, Step.WAIT, False),
        (replace(LAST_LEADER, regions=(AWAY,)), 3.0, None, Step.GO, False),
        # A follower stays for the leader's sake, and no longer.
        (LAST_FOLLOWER, 14.9, None, Step.WAIT, False),
        (LAST_FOLLOWER, 15.0, None, Step.GO, False),
        (replace(LAST_FOLLOWER, released=True), 1.0, None, Step.GO, False),
        (replace(LAST_FOLLOWER, in_touch_with_leader=False), 1.0, None, Step.GO, False),
    ],
)
def test_the_decision(standing: Standing, waited: float, safe_for: float | None, step: Step, safe: bool) -> None:
    decision = decide(standing, BOUNDS, waited_seconds=waited, safe_seconds=safe_for)
    assert (decision.step, decision.safe) == (step, safe), decision.reason


@pytest.mark.parametrize(
    ("standing", "served"),
    [
        (replace(LAST_FOLLOWER, region_stays=True), True),
        (replace(LAST_LEADER, source=False), True),
        (replace(LAST_LEADER, sole=True), False),
        (LAST_LEADER, False),
        (replace(LAST_FOLLOWER, released=True), False),
    ],
)
def test_whether_others_serve_the_calls_that_still_come(standing: Standing, served: bool) -> None:
    decision = decide(standing, BOUNDS, waited_seconds=14, safe_seconds=10)
    assert (decision.step, decision.served) == (Step.GO, served)


def test_leadership_is_offered_once() -> None:
    stays = replace(LAST_LEADER, region_stays=True)
    assert decide(stays, BOUNDS, waited_seconds=1, safe_seconds=None, handed_on=True).step is Step.GO


def test_what_is_behind_is_said_when_time_is_up() -> None:
    standing = replace(LAST_LEADER, regions=(LAGS, AWAY))
    reason = decide(standing, BOUNDS, waited_seconds=15, safe_seconds=None).reason
    assert "ap-south lacks 6 revisions" in reason
    assert "eu-west lacks 6 revisions and is not connected" in reason


@pytest.mark.parametrize(
    ("standing", "safe"),
    [
        (LAST_LEADER, True),
        (replace(LAST_LEADER, regions=(LAGS, HOLDS)), True),
        (replace(LAST_LEADER, regions=(LAGS,)), False),
        (replace(LAST_LEADER, regions=(replace(HOLDS, connected=False),)), False),
        (replace(LAST_LEADER, uncommitted=True), False),
        (replace(LAST_LEADER, regions=()), False),
        (LAST_FOLLOWER, False),
    ],
)
def test_safe_is_what_a_connected_region_has_committed(standing: Standing, safe: bool) -> None:
    assert is_safe(standing) is safe


def _status(
    voters: int, *, leaving: tuple[str, ...] = (), learners: tuple[str, ...] = (), behind: int = 0
) -> GroupStatus:
    members = tuple(Member(f"r{number}", f"r{number}:2380") for number in range(voters)) + tuple(
        Member(name, f"{name}:2380") for name in learners
    )
    return GroupStatus(
        "r0", Role.LEADER, "r0", 1, 9, 9 - behind, 9, members, 0.0, learners=learners, leaving=leaving
    )  # fmt: skip


@pytest.mark.parametrize(
    ("voters", "in_touch", "leaving", "stays"),
    [
        (1, (), ("r0",), False),
        (2, ("r1",), ("r0",), False),
        (3, ("r1", "r2"), ("r0",), True),
        (3, ("r1",), ("r0",), False),
        (3, ("r1", "r2"), ("r0", "r1"), False),
        (5, ("r1", "r2", "r3"), ("r0",), True),
        (5, ("r1", "r2", "r3", "r4"), ("r0", "r1", "r2"), False),
        (5, ("r1", "r2", "r3", "r4"), ("r0", "r1"), True),
    ],
)
def test_a_region_stays_while_a_majority_was_not_asked_to_stop(voters, in_touch, leaving, stays) -> None:
    assert region_stays(_status(voters, leaving=leaving), in_touch, without_self=True) is stays


def test_a_leader_that_stays_counts_itself_and_learners_never_count() -> None:
    assert region_stays(_status(3, leaving=("r1",)), ("r1", "r2"), without_self=False)
    assert not region_stays(_status(2, leaving=("r1",)), ("r1",), without_self=False)
    assert not region_stays(_status(1, leaving=("r0",), learners=("l0", "l1")), ("l0", "l1"), without_self=True)


def test_what_cannot_be_committed_is_not_waited_for() -> None:
    assert may_commit(_status(3, behind=1), ("r1",))
    assert not may_commit(_status(3, behind=1), ())
    assert not may_commit(_status(3), ("r1", "r2"))
