"""How far automatic compaction goes, and who compacts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.errors import NotLeader, StoreError
from rstore_api.proto import rstore_pb2
from rstore_replica.raft.types import Role
from rstore_replica.replication.retention import LAGGARD_FACTOR, SLACK, Retention, compaction_target
from rstore_replica.replication.sending.progress import RegionProgress
from unit.api.replica_fakes import FakeGroup, group_status, region_state


def test_history_within_the_retention_and_its_slack_is_kept() -> None:
    assert compaction_target(revision=1100, compact_revision=0, retention=1000, acked={}) is None
    assert compaction_target(revision=1101, compact_revision=0, retention=1000, acked={}) == 101


def test_what_a_region_still_needs_is_kept() -> None:
    assert compaction_target(revision=5000, compact_revision=0, retention=1000, acked={"eu": 2000}) == 2000
    assert compaction_target(revision=5000, compact_revision=0, retention=1000, acked={"eu": 4900}) == 4000
    assert compaction_target(revision=5000, compact_revision=0, retention=1000, acked={"eu": 0}) is None


def test_a_region_too_far_behind_no_longer_holds_it_back() -> None:
    acked = {"eu": 900, "ap": 10_500}
    assert compaction_target(revision=11_000, compact_revision=0, retention=1000, acked=acked) == 10_000


@given(
    revision=st.integers(1, 10**6),
    compact_revision=st.integers(0, 10**6),
    retention=st.integers(1, 10**5),
    acked=st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 10**6)),
)
@settings(max_examples=300)
def test_rules_hold_for_any_numbers(
    revision: int, compact_revision: int, retention: int, acked: dict[str, int]
) -> None:
    target = compaction_target(revision=revision, compact_revision=compact_revision, retention=retention, acked=acked)
    if target is None:
        return
    assert revision - compact_revision > retention * (1 + SLACK)
    assert compact_revision < target <= revision - retention
    for held in acked.values():
        assert target <= held or revision - held > retention * LAGGARD_FACTOR


class _Machine:
    def __init__(self, revision: int, **state: Any) -> None:
        self.revision = revision
        self.compact_revision = 0
        self.state = region_state(**state)


def _retention(machine: _Machine, group: FakeGroup, acked: dict[str, int]) -> Retention:
    progress = [RegionProgress(region, acked_revision=revision) for region, revision in acked.items()]
    return Retention(machine=machine, group=group, retention=1000, region="us-east", progress=lambda: progress)  # type: ignore[arg-type]


async def test_the_primarys_leader_compacts_to_what_every_region_has() -> None:
    group = FakeGroup()
    assert await _retention(_Machine(5000), group, {"eu-west": 3000}).once() == 3000
    assert group.proposals == [rstore_pb2.LogEntry(compaction=rstore_pb2.Compaction(revision=3000))]


async def test_a_region_nothing_is_known_of_holds_compaction_back() -> None:
    assert await _retention(_Machine(5000), FakeGroup(), {}).once() is None


@pytest.mark.parametrize(
    ("machine", "group"),
    [
        (_Machine(5000), FakeGroup(now=group_status(role=Role.FOLLOWER, leader="orders-us-east-1"))),
        (_Machine(5000, primary=False, primary_region="eu-west"), FakeGroup()),
        (_Machine(5000, promised_epoch=2), FakeGroup()),
    ],
)
async def test_nobody_else_compacts(machine: _Machine, group: FakeGroup) -> None:
    assert await _retention(machine, group, {"eu-west": 5000}).once() is None
    assert group.proposals == []


async def test_a_refused_compaction_is_left_to_the_next_round() -> None:
    for refusal in (NotLeader(), StoreError("x")):
        assert await _retention(_Machine(5000), FakeGroup(refusal=refusal), {"eu-west": 5000}).once() is None
