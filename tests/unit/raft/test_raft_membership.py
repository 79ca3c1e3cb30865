"""Members come, go, lose their volumes and come back; nothing that was acknowledged is lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_replica.raft import LocalDisk, RaftError
from rstore_replica.raft.journal import Journal
from rstore_replica.raft.membership import Membership, Replica, check_change, decode, encode
from unit.raft.raft_world import World


def led(world: World) -> str:
    """A leader that has committed in its term, by name."""

    def there() -> bool:
        leader = world.leader()
        return leader is not None and leader.core is not None and leader.core.committed_in_term

    assert world.run(20, there), "no leader"
    leader = world.leader()
    assert leader is not None
    return leader.name


def membership(world: World) -> Membership:
    leader = world.leader()
    return leader.core.membership if leader is not None and leader.core is not None else Membership()


def voting(world: World, *names: str) -> bool:
    """These and nobody else have a vote, by what is committed."""
    leader = world.leader()
    if leader is None or leader.core is None:
        return False
    found = leader.core.membership
    settled = found.index <= leader.core.engine.commit_index
    return settled and set(found.names) == set(found.voters) == set(names)


def isolate(world: World, *names: str) -> None:
    others = [name for name in world.replicas if name not in names]
    world.cut = {pair for one in names for other in others for pair in ((one, other), (other, one))}


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_fresh_group_forms_when_all_have_met(tmp_path: Path, size: int) -> None:
    world = World(tmp_path, size, seed=1, first=size)
    led(world)
    identities = {replica.journal and replica.journal.identity for replica in world.replicas.values()}
    assert (identities == {0}) == (size > 1)
    assert membership(world).voters == tuple(sorted(world.replicas))


def test_a_fresh_group_waits_for_the_last_of_its_first_members(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=2, first=3)
    for name in world.replicas:
        world.kill(name, power=False)
        world.empty(name)
    world.start("n0")
    world.start("n1")
    world.run(20)
    assert world.leaders == {}
    world.start("n2")
    led(world)


@pytest.mark.parametrize("seed", range(5))
def test_who_lost_its_volume_does_not_help_to_elect_one_that_lacks_what_was_committed(
    tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path, 3, seed, first=3)
    holder = led(world)
    emptied, lagging = sorted(name for name in world.replicas if name != holder)
    isolate(world, lagging)
    assert world.propose(b"must stay")
    assert world.run(5, lambda: any(said[1] == b"\0must stay" for said in world.acknowledged.values()))
    isolate(world, holder)
    world.kill(emptied, power=True)
    world.empty(emptied)
    world.start(emptied)
    terms = dict(world.leaders)
    world.run(30)
    assert world.leaders == terms, "elected without the write"
    for name in (emptied, lagging):
        core = world.replicas[name].core
        assert core is not None
        assert not core.is_leader
    world.cut = set()
    led(world)
    assert world.run(30, lambda: voting(world, "n0", "n1", "n2"))
    found = membership(world).get(emptied)
    assert found is not None
    assert found.identity != 0
    assert world.run(10, lambda: len({r.core and r.core.engine.last_applied for r in world.replicas.values()}) == 1)
    assert any(command == b"\0must stay" for _, _, command in world.replicas[emptied].applied)


def test_a_crash_while_it_is_being_filled_changes_nothing_about_that(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=3, first=3)
    leader = led(world)
    emptied, other = sorted(name for name in world.replicas if name != leader)
    for number in range(200):
        world.propose(b"%d" % number)
        world.run(0.01)
    world.kill(emptied, power=True)
    world.empty(emptied)
    world.start(emptied)

    def being_filled() -> bool:
        journal = world.replicas[emptied].journal
        return journal is not None and journal.last_index > 20

    assert world.run(10, being_filled)
    first = world.replicas[emptied].journal
    assert first is not None
    identity = first.identity
    assert identity != 0
    isolate(world, leader)
    world.kill(emptied, power=True)
    world.kill(other, power=False)
    world.start(other)
    world.start(emptied)
    again = world.replicas[emptied].journal
    assert again is not None
    assert again.identity == identity, "the same replica, still known by what it is"
    world.cut = set()
    led(world)
    assert world.run(30, lambda: voting(world, "n0", "n1", "n2"))


def test_one_replica_becomes_three_and_one_again(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=4, first=1)
    assert led(world) == "n0"
    for number in range(100):
        world.propose(b"%d" % number)
        world.run(0.005)
    world.run(5)
    assert voting(world, "n0"), "nobody is taken in unasked"
    for new in ("n1", "n2"):
        assert world.run(10, lambda new=new: world.take_in(new))
        core = world.replicas["n0"].core
        assert core is not None
        assert new in core.membership.learners
        assert core.majority == len(core.membership.voters) // 2 + 1
        assert world.run(10, lambda new=new: new in membership(world).voters)
    assert world.run(10, lambda: voting(world, "n0", "n1", "n2"))
    world.kill("n0", power=False)
    assert led(world) != "n0", "the new ones can go on without the first"
    world.start("n0")
    world.run(5)
    leader = led(world)
    for gone in sorted(name for name in world.replicas if name != leader):
        assert world.run(10, lambda gone=gone: world.take_out(gone))
        assert world.run(10, lambda gone=gone: membership(world).get(gone) is None)
        world.run(1)
    assert world.run(5, lambda: voting(world, leader))
    term = max(world.leaders)
    assert world.propose(b"alone")
    world.run(30)
    assert max(world.leaders) == term, "those taken out do not disturb"
    assert any(said[1] == b"\0alone" for said in world.acknowledged.values())


def test_a_learner_does_not_count_before_it_has_caught_up(tmp_path: Path) -> None:
    world = World(tmp_path, 4, seed=5, first=3)
    leader = led(world)
    assert world.run(10, lambda: world.take_in("n3"))
    isolate(world, "n3")
    world.run(5)
    assert membership(world).learners == ("n3",)
    other = next(name for name in ("n0", "n1", "n2") if name != leader)
    world.kill(other, power=False)
    before = len(world.acknowledged)
    world.propose(b"two of three")
    assert world.run(5, lambda: len(world.acknowledged) > before)
    world.start(other)
    world.cut = set()
    assert world.run(20, lambda: voting(world, "n0", "n1", "n2", "n3"))


def test_no_change_before_the_one_before_is_committed_or_before_the_term_has_begun(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=6, first=3)
    leader = world.replicas[led(world)]
    assert leader.core is not None
    others = sorted(name for name in world.replicas if name != leader.name)
    assert world.take_out(others[0])
    assert not leader.core.changes.possible
    assert not world.take_out(others[1])
    with pytest.raises(AssertionError):
        leader.core.changes.propose(leader.core.membership.without(others[1]))


def test_a_replica_is_not_taken_out_when_the_rest_would_not_answer(tmp_path: Path) -> None:
    world = World(tmp_path, 3, seed=7, first=3)
    leader = led(world)
    down, up = sorted(name for name in world.replicas if name != leader)
    world.kill(down, power=False)
    world.run(1.5)
    assert not world.take_out(up)
    assert world.take_out(down)


@pytest.mark.parametrize("seed", range(10))
def test_nothing_acknowledged_is_lost_while_members_and_volumes_come_and_go(tmp_path: Path, seed: int) -> None:
    size = (4, 5)[seed % 2]
    world = World(tmp_path, size, seed, first=(3, 1)[seed % 2])
    rng, names = world.rng, sorted(world.replicas)
    led(world)
    emptied_at = world.now
    for step in range(220):
        action = rng.random()
        if action < 0.45:
            for number in range(rng.randint(1, 6)):
                world.propose(b"%d.%d" % (step, number) * rng.randint(1, 20))
        elif action < 0.55:
            world.ask()
        elif action < 0.67:
            world.take_in(rng.choice(names))
        elif action < 0.73:
            world.take_out(rng.choice(names))
        elif action < 0.78:
            world.loss, world.delay = rng.choice([0.0, 0.0, 0.1]), rng.choice([0.002, 0.01, 0.2])
        elif action < 0.84:
            isolate(world, *rng.sample(names, rng.randint(1, 2)))
        elif action < 0.90:
            world.cut = set()
        elif action < 0.96:
            running = [name for name in names if world.replicas[name].core is not None]
            for name in rng.sample(running, min(len(running), rng.randint(1, 2))):
                world.kill(name, power=rng.random() < 0.6)
        elif world.now - emptied_at > 5 and world.leader() is not None:
            # One volume at a time, and only while the others together still hold everything.
            found = membership(world)
            leader = world.leader()
            running = {name for name in names if world.replicas[name].core is not None}
            able = [name for name in found.names if leader is not None and name != leader.name]
            settled = leader is not None and leader.core is not None and leader.core.changes.possible
            if settled and not found.learners and set(found.names) <= running and len(found.voters) > 2 and able:
                name = rng.choice(able)
                world.kill(name, power=True)
                world.empty(name)
                world.start(name)
                emptied_at = world.now
        for name in names:
            if world.replicas[name].core is None and rng.random() < 0.3:
                world.start(name)
        world.run(rng.uniform(0.0, rng.choice([0.02, 0.05, 0.4, 1.5])))
    world.cut, world.loss, world.delay = set(), 0.0, 0.01
    for name in names:
        if world.replicas[name].core is None:
            world.start(name)

    def settled() -> bool:
        leader = world.leader()
        if leader is None or leader.core is None or leader.journal is None:
            return False
        found, end = leader.core.membership, leader.journal.last_index
        cores = [world.replicas[name].core for name in found.names]
        return not found.learners and all(core is not None and core.engine.last_applied == end for core in cores)

    assert world.run(60, settled), "the group does not recover once everything works again"
    assert len(world.acknowledged) > 30
    assert all(world.committed[index] == said for index, said in world.acknowledged.items())
    leader = world.leader()
    assert leader is not None
    assert [(i, (t, c)) for i, t, c in leader.applied] == sorted(world.committed.items())


def test_unsafe_changes_are_refused() -> None:
    three = Membership(tuple(Replica(name, "", 0) for name in "abc"))
    check_change(three, three.without("a"))
    check_change(three, three.with_replica(Replica("a", "", 7, learner=True)))
    for after in (three.without("a").without("b"), three.with_replica(Replica("a", "", 7))):
        with pytest.raises(RaftError, match="unsafe"):
            check_change(three, after)
    with pytest.raises(RaftError, match="unsafe"):
        check_change(Membership((Replica("a", ""),)), Membership())


def test_members_and_identity_come_back_from_the_journal(tmp_path: Path) -> None:
    def opened(identity: int = 0) -> Journal:
        return Journal(tmp_path, LocalDisk(), segment_bytes=4096, cache_bytes=1000, new_identity=identity)

    one, two = (Membership(tuple(Replica(name, "h:1") for name in names), index=1) for names in ("ab", "abc"))
    journal = opened(99)
    assert (journal.identity, journal.memberships.latest) == (99, None)
    journal.found(one, identity=0)
    for index in range(2, 400):
        journal.append(index, 1, b"\x04" + encode(Membership(two.replicas)) if index == 100 else b"\0" + bytes(100))
    journal.set_commit(399)
    assert journal.memberships.at(99) == one
    journal.close()
    journal = opened(5)
    assert journal.identity == 0
    assert journal.memberships.latest == Membership(two.replicas, index=100)
    journal.compact(200, 199)
    journal.close()
    journal = opened(5)
    assert journal.first_index == 200
    assert journal.memberships.latest == Membership(two.replicas, index=100)
    journal.append(400, 1, b"\x04" + encode(Membership(one.replicas)))
    assert journal.memberships.latest == Membership(one.replicas, index=400)
    journal.truncate_from(400)
    assert journal.memberships.latest == Membership(two.replicas, index=100)
    journal.reset(900, 3, 899, Membership(one.replicas, index=850))
    journal.close()
    assert opened().memberships.latest == Membership(one.replicas, index=850)
    with pytest.raises(ValueError, match="members"):
        decode(b"{")
