"""Members come and go, and volumes are emptied, with whole groups over gRPC."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from rstore_api import errors
from rstore_replica.raft import JournalDamaged, Member, RaftConfig
from unit.raft.cluster import FAST, Cluster, eventually

SMALL_LOG = RaftConfig(
    election_timeout_min_seconds=0.5,
    election_timeout_max_seconds=1.0,
    heartbeat_seconds=0.05,
    checkpoint_entries=20,
    trailing_entries=5,
    segment_bytes=2000,
    checkpoint_chunk_bytes=700,
)


def has_all(cluster: Cluster, name: str, values: list[bytes]) -> bool:
    return cluster.machines[name].values == values


def counts(cluster: Cluster, *names: str) -> bool:
    """Every running replica knows these as the members that have a vote."""
    statuses = [group.status() for group in cluster.groups.values()]
    return all({m.name for m in s.members} == set(names) and not s.learners for s in statuses)


async def empty(cluster: Cluster, name: str) -> None:
    await cluster.stop(name)
    shutil.rmtree(cluster.root / name)


async def test_a_group_of_one_grows_to_three_and_goes_on_without_its_first(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, SMALL_LOG)
    everyone = cluster.members
    cluster.members = everyone[:1]
    await cluster.start()
    await eventually(lambda: cluster.leader() == "n0", "leadership")
    first = cluster.groups["n0"]
    values = [b"%d" % number * 10 for number in range(120)]
    for value in values:
        await first.propose(value, timeout_seconds=5)
    cluster.members = everyone
    await cluster.start("n1", "n2")
    for name in ("n1", "n2"):
        assert "no data" in cluster.groups[name].status().not_ready_reason
    assert {name: group.status().joining for name, group in cluster.groups.items()} == {
        "n0": False,
        "n1": True,
        "n2": True,
    }
    with pytest.raises(errors.DeadlineExceeded, match="does not count yet"):
        await first.change_members(add=Member("n9", "127.0.0.1:1"), timeout_seconds=0.3)
    members = await first.change_members(add=everyone[1], timeout_seconds=10)
    assert [member.name for member in members] == ["n0", "n1"]
    await first.change_members(add=everyone[2], timeout_seconds=10)
    assert await first.change_members(add=everyone[2], timeout_seconds=10) == everyone
    await eventually(lambda: counts(cluster, "n0", "n1", "n2"), "everyone knows the members")
    assert not any(group.status().joining for group in cluster.groups.values())
    await eventually(lambda: all(has_all(cluster, name, values) for name in cluster.groups), "everyone has everything")
    assert cluster.machines["n1"].restored == 1, "by a checkpoint, since the log's beginning is gone"
    await cluster.stop("n0")
    leader = await cluster.wait_leader(other_than="n0")
    await cluster.groups[leader].propose(b"more", timeout_seconds=10)
    await cluster.start("n0")
    await eventually(lambda: has_all(cluster, "n0", [*values, b"more"]), "the first is back")
    await cluster.stop()
    assert cluster.failures == {}


async def test_a_replica_that_was_taken_out_is_refused_and_says_so(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3)
    await cluster.start()
    leader = cluster.groups[await cluster.wait_leader()]
    await leader.propose(b"x", timeout_seconds=10)
    name = leader.status().name
    with pytest.raises(errors.InvalidRequest, match="hand leadership"):
        await leader.change_members(remove=name, timeout_seconds=5)
    with pytest.raises(errors.InvalidRequest, match="either one"):
        await leader.change_members(timeout_seconds=5)
    gone, other = sorted(set(cluster.groups) - {name})
    with pytest.raises(errors.NotLeader):
        await cluster.groups[other].change_members(remove=gone, timeout_seconds=5)
    await leader.change_members(remove=gone, timeout_seconds=10)
    await leader.change_members(remove=gone, timeout_seconds=10)
    removed = cluster.groups[gone]
    await eventually(lambda: "has been removed" in removed.status().not_ready_reason, "it is told")
    term = leader.status().term
    await asyncio.sleep(3 * FAST.election_timeout_max_seconds)
    assert leader.status().term == term, "it does not disturb"
    await cluster.stop(gone)
    await leader.propose(b"y", timeout_seconds=5)
    # Its volume was kept: taken in again, it goes on from there.
    await cluster.start(gone)
    member = next(member for member in cluster.members if member.name == gone)
    await leader.change_members(add=member, timeout_seconds=10)
    await eventually(lambda: has_all(cluster, gone, [b"x", b"y"]), "it has what it missed")
    await cluster.stop()
    assert cluster.failures == {}


async def test_an_emptied_volume_is_filled_again_by_itself_and_then_counts(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, SMALL_LOG)
    await cluster.start()
    leader = cluster.groups[await cluster.wait_leader()]
    values = [b"%d" % number * 10 for number in range(120)]
    for value in values:
        await leader.propose(value, timeout_seconds=5)
    emptied, other = sorted(set(cluster.groups) - {leader.status().name})
    await empty(cluster, emptied)
    await cluster.start(emptied)
    await eventually(lambda: has_all(cluster, emptied, values), "it has everything")
    await eventually(lambda: cluster.groups[emptied].status().not_ready_reason == "", "it counts")
    await eventually(lambda: counts(cluster, "n0", "n1", "n2"), "everyone knows")
    await cluster.stop(other)
    await leader.propose(b"with its help", timeout_seconds=10)
    assert cluster.machines[emptied].restored == 1
    await cluster.stop()
    assert cluster.failures == {}


async def test_a_damaged_journal_says_where_and_what_to_do_and_that_works(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3)
    await cluster.start()
    leader = cluster.groups[await cluster.wait_leader()]
    for number in range(20):
        await leader.propose(b"%d" % number, timeout_seconds=5)
    damaged = sorted(set(cluster.groups) - {leader.status().name})[0]
    await eventually(lambda: len(cluster.machines[damaged].values) == 20, "it has everything")
    await cluster.stop(damaged)
    (segment,) = (tmp_path / damaged / "journal").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[400] ^= 0xFF
    segment.write_bytes(data)
    with pytest.raises(JournalDamaged, match=r"\.seg: damaged at offset \d+ .*delete .*PersistentVolumeClaim"):
        await cluster.start(damaged)
    cluster.groups.pop(damaged)
    await cluster.servers.pop(damaged).stop(None)
    shutil.rmtree(tmp_path / damaged)
    await cluster.start(damaged)
    await eventually(lambda: len(cluster.machines[damaged].values) == 20, "it is filled again")
    await eventually(lambda: cluster.groups[damaged].status().not_ready_reason == "", "and counts")
    await cluster.stop()
    assert cluster.failures == {}
