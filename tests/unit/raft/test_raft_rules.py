"""Safety and liveness of the replicas' rules under everything a network and a machine may do."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_api.proto import raft_pb2 as pb
from unit.raft.raft_world import World


def agreed(world: World) -> bool:
    """Everyone is up and has applied the same, up to the end of the leader's log."""
    leader = world.leader()
    if leader is None or leader.core is None or leader.journal is None:
        return False
    end = leader.journal.last_index
    return all(
        r.core is not None and r.core.engine.last_applied == end and r.core.engine.leader == leader.name
        for r in world.replicas.values()
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_healthy_group_elects_once_and_commits(tmp_path: Path, size: int) -> None:
    world = World(tmp_path, size, seed=1)
    assert world.run(10, lambda: world.leader() is not None)
    world.run(3)
    assert len(world.leaders) == 1
    for number in range(50):
        assert world.propose(b"%d" % number)
        world.run(0.02)
    assert world.run(5, lambda: agreed(world))
    assert [c for _, c in sorted(world.acknowledged.items()) for c in [c[1]] if c[:1] == b"\0"] == [
        b"\0%d" % number for number in range(50)
    ]


@pytest.mark.parametrize("seed", range(14))
def test_nothing_acknowledged_is_ever_lost(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, (3, 3, 5)[seed % 3], seed)
    rng = world.rng
    names = sorted(world.replicas)
    for step in range(250):
        action = rng.random()
        if action < 0.5:
            for number in range(rng.randint(1, 8)):
                world.propose(b"%d.%d" % (step, number) * rng.randint(1, 20))
        elif action < 0.62:
            world.ask()
        elif action < 0.70:
            world.loss = rng.choice([0.0, 0.0, 0.05, 0.3])
            world.delay = rng.choice([0.002, 0.01, 0.2])
            world.sync_delay = rng.choice([0.002, 0.02, 0.2])
        elif action < 0.78:
            leading = world.leader()
            lonely = leading.name if leading is not None and rng.random() < 0.5 else rng.choice(names)
            pairs = [(lonely, other) for other in names] + [(other, lonely) for other in names]
            world.cut = set(pairs if rng.random() < 0.5 else rng.sample(pairs, rng.randint(1, len(pairs))))
        elif action < 0.88:
            world.cut = set()
        elif action < 0.95:
            running = [name for name in names if world.replicas[name].core is not None]
            for name in rng.sample(running, rng.randint(1, len(running)) if running else 0):
                world.kill(name, power=rng.random() < 0.6)
        for name in names:
            if world.replicas[name].core is None and rng.random() < 0.25:
                world.start(name)
        world.run(rng.uniform(0.0, rng.choice([0.02, 0.05, 0.4, 1.5])))
    world.cut, world.loss, world.delay = set(), 0.0, 0.01
    for name in names:
        if world.replicas[name].core is None:
            world.start(name)
    assert world.run(30, lambda: agreed(world)), "the group does not recover once everything works again"
    assert len(world.acknowledged) > 50
    assert all(world.committed[index] == said for index, said in world.acknowledged.items())
    for replica in world.replicas.values():
        assert [(index, (term, command)) for index, term, command in replica.applied] == sorted(world.committed.items())


def test_a_replica_that_comes_back_does_not_disturb_the_leader(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=3)
    world.run(5, lambda: world.leader() is not None)
    world.run(1)
    leader = world.leader()
    assert leader is not None
    lonely = next(name for name in world.replicas if name != leader.name)
    world.cut = {pair for other in world.replicas for pair in ((lonely, other), (other, lonely))}
    world.run(60)
    world.cut = set()
    world.run(10)
    assert len(world.leaders) == 1
    assert world.leader() is leader


def test_a_cut_off_leader_steps_down_and_answers_no_read(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=4)
    world.run(5, lambda: world.leader() is not None)
    world.run(1)
    old = world.leader()
    assert old is not None
    assert old.core is not None
    world.cut = {pair for other in world.replicas for pair in ((old.name, other), (other, old.name))}
    world.run(0.05)
    number = old.core.log.begin_round()
    assert world.run(8, lambda: len(world.leaders) == 2 and not old.core.is_leader)
    assert not old.core.log.round_confirmed(number)
    assert world.propose(b"after")
    world.cut = set()
    assert world.run(10, lambda: agreed(world))


def test_a_vote_survives_the_loss_of_power(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=5)
    world.run(5, lambda: world.leader() is not None)
    world.run(0.5)
    leader = world.leader()
    assert leader is not None
    for name in world.replicas:
        world.kill(name, power=True)
    for name in world.replicas:
        world.start(name)
    voters = [r for r in world.replicas.values() if r.journal is not None and r.journal.voted_for == leader.name]
    assert len(voters) >= 2
    assert all(r.core is not None and r.core.engine.term >= 1 for r in voters)


def test_leadership_is_handed_over_at_once_on_request(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=6)
    world.run(5, lambda: world.leader() is not None)
    world.run(1)
    leader = world.leader()
    assert leader is not None
    assert leader.core is not None
    target = next(name for name in sorted(world.replicas) if name != leader.name)
    leader.core.send_timeout_now(target)
    assert world.run(0.5, lambda: world.leader() is world.replicas[target])
    assert world.run(2, lambda: agreed(world))


def test_a_vote_that_arrives_twice_counts_once(tmp_path: Path) -> None:
    world = World(tmp_path, 5, seed=7)
    candidate = world.replicas["n0"].core
    assert candidate is not None
    candidate._campaign(world.now)
    reply = pb.RaftEnvelope(term=candidate.engine.term, vote_reply=pb.RaftVoteReply())
    for _ in range(3):
        candidate.receive("n1", reply)
    assert not candidate.is_leader
    candidate.receive("n2", reply)
    assert candidate.is_leader


def test_a_majority_holding_an_entry_of_an_earlier_term_does_not_commit_it(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=8)
    old = world.replicas["n0"]
    assert old.core is not None
    assert old.journal is not None
    old.core._campaign(world.now)
    old.core.receive("n1", pb.RaftEnvelope(term=1, vote_reply=pb.RaftVoteReply()))
    old.core.propose(b"of term 1")
    index = old.journal.last_index
    old.core.receive("n1", pb.RaftEnvelope(term=2, append_reply=pb.RaftAppendReply()))  # another term has begun
    old.core._campaign(world.now)
    old.core.receive("n1", pb.RaftEnvelope(term=3, vote_reply=pb.RaftVoteReply()))
    pending = old.journal.take_sync()
    pending.work()
    pending.done()
    acknowledged = pb.RaftAppendReply(next_index=index + 1, success=True)
    old.core.receive("n1", pb.RaftEnvelope(term=3, append_reply=acknowledged))
    old.core.tick()
    assert old.core.engine.commit_index == 1
    old.core.receive("n1", pb.RaftEnvelope(term=1, append_reply=pb.RaftAppendReply(next_index=99, success=True)))
    acknowledged = pb.RaftAppendReply(next_index=index + 2, success=True)
    old.core.receive("n1", pb.RaftEnvelope(term=3, append_reply=acknowledged))
    old.core.tick()
    assert old.core.engine.commit_index == index + 1


def test_nothing_counts_before_it_is_on_disk(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=9)
    world.run(5, lambda: world.leader() is not None)
    world.run(1)
    leader = world.leader()
    assert leader is not None
    assert leader.core is not None
    before = leader.core.engine.commit_index
    world.sync_hold = True
    world.propose(b"on no disk yet")
    world.run(0.8)
    assert all(r.journal is not None and r.journal.last_index == before + 1 for r in world.replicas.values())
    assert leader.core.engine.commit_index == before
    assert leader.core.is_leader, "disks that take their time are no reason for an election"
    world.sync_hold = False
    assert world.run(2, lambda: leader.core is not None and leader.core.engine.commit_index == before + 1)


def test_no_vote_leaves_before_it_is_on_disk(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=10)
    world.sync_hold = True
    world.run(10)
    assert world.leaders == {}
    assert max(r.core.engine.term for r in world.replicas.values() if r.core is not None) >= 1
    world.sync_hold = False
    assert world.run(10, lambda: world.leader() is not None)


def test_a_new_leader_answers_no_read_before_it_has_committed_in_its_term(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=11)
    assert world.run(5, lambda: world.leader() is not None)
    leader = world.leader()
    assert leader is not None
    assert leader.core is not None
    assert not leader.core.committed_in_term
    assert world.run(2, lambda: leader.core is not None and leader.core.committed_in_term)
