"""When a replica is ready."""

from __future__ import annotations

import pytest
from rstore_api.domain.epochs import EpochStart
from rstore_replica.process.readiness import not_ready_reason
from rstore_replica.raft.types import Role
from unit.api.replica_fakes import NAMES, group_status, region_state

LEADER = group_status()
FOLLOWER = group_status(role=Role.FOLLOWER, leader=NAMES[1])
LEADERLESS = group_status(role=Role.CANDIDATE, leader=None)
SECONDARY = region_state(primary=False, primary_region="eu-west")


@pytest.mark.parametrize(
    ("status", "state", "stopping", "words"),
    [
        (LEADER, region_state(), False, ""),
        (FOLLOWER, SECONDARY, False, ""),
        (LEADER, region_state(), True, "stopping"),
        (LEADERLESS, region_state(), False, "no leader"),
        (group_status(commit_index=5000), region_state(), False, "4990 committed entries"),
        (group_status(not_ready_reason="receiving a checkpoint"), region_state(), False, "checkpoint"),
        (LEADER, region_state(store_id=""), False, "bootstrapped"),
    ],
)
def test_readiness(status, state, stopping: bool, words: str) -> None:
    reason = not_ready_reason(state, status, stopping=stopping)
    assert words in reason
    assert bool(reason) == bool(words)


def test_a_region_is_ready_with_what_it_has_while_a_snapshot_comes_in() -> None:
    started = region_state(history=(EpochStart(epoch=1, first_revision=2, region="us-east"),))
    assert not not_ready_reason(started, LEADER, stopping=False, receives_snapshot=True)
    fresh = region_state(history=())
    assert "first data" in not_ready_reason(fresh, LEADER, stopping=False, receives_snapshot=True)
