"""The replicas' rules in situations that a test makes; what random histories show is in ``tests/sim``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hazards.hazard_ours import OurGroup
from rstore_api.proto import raft_pb2 as pb
from sim.region import Host
from sim.steered import Steered, group_of, steer


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_healthy_group_elects_once_and_commits(size: int) -> None:
    async def script(region: Steered) -> None:
        await region.begun()
        await asyncio.sleep(3)
        for number in range(50):
            assert await region.put(b"%d" % number) == number + 2
        assert len(region.oracle.leaders) == 1
        assert await region.until(region.agreed, 5)

    steer(script, size=size)


def test_a_replica_that_comes_back_does_not_disturb_the_leader() -> None:
    async def script(region: Steered) -> None:
        leader = await region.begun()
        region.isolate(region.others(leader)[0])
        await asyncio.sleep(60)
        region.network.heal()
        await asyncio.sleep(10)
        assert region.oracle.leaders == {1: leader.name}
        assert region.leader() is leader

    steer(script, seed=3)


def test_a_cut_off_leader_steps_down_and_answers_no_read() -> None:
    async def script(region: Steered) -> None:
        old = await region.begun()
        region.isolate(old)
        log = group_of(old)._core._log
        number = log.begin_round()
        assert await region.until(lambda: len(region.oracle.leaders) == 2 and not old.leads, 8)
        assert not log.round_confirmed(number)
        await region.put(b"after")
        region.network.heal()
        assert await region.until(region.agreed, 10)

    steer(script, seed=4)


def test_a_vote_survives_the_loss_of_power() -> None:
    async def script(region: Steered) -> None:
        leader = await region.begun()
        for host in region.hosts:
            host.crash(power=True)
        region.start()
        assert await region.until(lambda: all(host.ready for host in region.hosts), 0.4)
        voters = [host for host in region.hosts if group_of(host)._journal.voted_for == leader.name]
        assert len(voters) >= 2
        assert all(group_of(host).status().term >= 1 for host in voters)

    steer(script, seed=5)


def test_leadership_is_handed_over_at_once_on_request() -> None:
    async def script(region: Steered) -> None:
        leader = await region.begun()
        target = region.others(leader)[0]
        assert await region.until(region.agreed, 1)
        group_of(leader)._core.send_timeout_now(target.name)
        assert await region.until(lambda: region.leader() is target, 0.5)
        assert await region.until(region.agreed, 2)

    steer(script, seed=6)


def test_a_vote_that_arrives_twice_counts_once(tmp_path: Path) -> None:
    group = OurGroup("abcde", tmp_path)
    candidate = group.replicas["a"].core
    candidate._campaign(group.clock.now)
    reply = pb.RaftEnvelope(term=candidate.term, vote_reply=pb.RaftVoteReply())
    for _ in range(3):
        candidate.receive("b", reply)
    assert not candidate.is_leader
    candidate.receive("c", reply)
    assert candidate.is_leader


def test_a_majority_holding_an_entry_of_an_earlier_term_does_not_commit_it(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    old = group.replicas["a"]
    old.core._campaign(group.clock.now)
    old.core.receive("b", pb.RaftEnvelope(term=1, vote_reply=pb.RaftVoteReply()))
    index = group.put("a", b"of term 1")
    old.core.receive("b", pb.RaftEnvelope(term=2, append_reply=pb.RaftAppendReply()))  # another term has begun
    old.core._campaign(group.clock.now)
    old.core.receive("b", pb.RaftEnvelope(term=3, vote_reply=pb.RaftVoteReply()))
    pending = old.journal.take_sync()
    pending.work()
    pending.done()
    acknowledged = pb.RaftAppendReply(next_index=index + 1, success=True)
    old.core.receive("b", pb.RaftEnvelope(term=3, append_reply=acknowledged))
    old.core.tick()
    assert group.committed("a") == 1
    old.core.receive("b", pb.RaftEnvelope(term=1, append_reply=pb.RaftAppendReply(next_index=99, success=True)))
    acknowledged = pb.RaftAppendReply(next_index=index + 2, success=True)
    old.core.receive("b", pb.RaftEnvelope(term=3, append_reply=acknowledged))
    old.core.tick()
    assert group.committed("a") == index + 1


def test_nothing_counts_before_it_is_on_disk() -> None:
    async def script(region: Steered) -> None:
        leader = await region.begun()
        assert await region.until(region.agreed, 2)
        before = group_of(leader).status().commit_index
        for host in region.hosts:
            host.volume.sync_seconds = (1.0, 1.0)
        write = asyncio.ensure_future(region.put(b"on no disk yet"))
        await asyncio.sleep(0.8)
        assert all(group_of(host).status().last_index == before + 1 for host in region.hosts)
        assert group_of(leader).status().commit_index == before
        assert leader.leads, "disks that take their time are no reason for an election"
        assert await region.until(write.done, 2)
        assert group_of(leader).status().commit_index == before + 1

    steer(script, seed=9)


def test_no_vote_leaves_before_it_is_on_disk() -> None:
    async def script(region: Steered) -> None:
        for host in region.hosts:
            host.volume.sync_seconds = (12.0, 12.0)
        region.start()
        await asyncio.sleep(10)
        assert region.oracle.leaders == {}
        assert max(group_of(host).status().term for host in region.hosts) >= 1
        for host in region.hosts:
            host.volume.sync_seconds = (0.001, 0.002)
        assert await region.until(region.leader, 60)

    steer(script, seed=10)


def test_a_new_leader_answers_no_read_before_it_has_committed_in_its_term() -> None:
    async def script(region: Steered) -> None:
        at_election: list[bool] = []

        def elected(host: Host) -> None:
            at_election.append(group_of(host)._core.committed_in_term)

        for host in region.hosts:
            host.on_elected = elected
        region.start()
        await region.led()
        assert at_election == [False]

    steer(script, seed=11)
