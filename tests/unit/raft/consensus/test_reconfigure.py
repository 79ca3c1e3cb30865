"""Members come, go, lose their volumes and come back, in situations that a test makes; ``tests/sim`` has the rest."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rstore_api import errors
from rstore_replica.raft import LocalDisk, RaftError
from rstore_replica.raft.membership import Membership, Replica, check_change, decode, encode
from rstore_replica.raft.storage.journal import Journal
from sim.region import Host
from sim.steered import Steered, group_of, steer

THREE = ("n0", "n1", "n2")


def identity(host: Host) -> int:
    return group_of(host)._journal.identity


async def emptied(host: Host) -> None:
    """Its volume is lost with its machine; it is on again."""
    host.crash(power=True)
    host.empty()
    host.start()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_fresh_group_forms_when_all_have_met(size: int) -> None:
    async def script(region: Steered) -> None:
        await region.begun()
        assert ({identity(host) for host in region.hosts} == {0}) == (size > 1)
        assert region.members().voters == tuple(host.name for host in region.hosts)

    steer(script, size=size)


def test_a_fresh_group_waits_for_the_last_of_its_first_members() -> None:
    async def script(region: Steered) -> None:
        region.start("n0", "n1")
        await asyncio.sleep(20)
        assert region.oracle.leaders == {}
        region.start("n2")
        await region.led()

    steer(script, seed=2)


@pytest.mark.parametrize("seed", range(5))
def test_a_replica_that_lost_its_volume_does_not_help_to_elect_one_that_lacks_what_was_committed(seed: int) -> None:
    async def script(region: Steered) -> None:
        holder = await region.begun()
        forgetful, lagging = region.others(holder)
        region.isolate(lagging)
        await region.put(b"must stay")
        region.isolate(holder)
        await emptied(forgetful)
        leaders = dict(region.oracle.leaders)
        await asyncio.sleep(20)
        assert region.oracle.leaders == leaders, "elected without the write"
        assert not forgetful.leads
        assert not lagging.leads
        region.network.heal()
        assert await region.until(lambda: region.voting(*THREE), 30)
        found = region.members().get(forgetful.name)
        assert found is not None
        assert found.identity == identity(forgetful) != 0
        assert await region.until(region.agreed, 10)
        assert region.holds(forgetful, b"must stay")

    steer(script, seed=seed)


def test_a_crash_while_it_is_being_filled_changes_nothing_about_that() -> None:
    async def script(region: Steered) -> None:
        leader = await region.begun()
        forgetful, other = region.others(leader)
        for number in range(200):
            await region.put(b"%d" % number)
        await emptied(forgetful)
        assert await region.until(lambda: forgetful.ready and group_of(forgetful).status().last_index > 20, 10)
        assert group_of(forgetful).status().last_index < 200
        region.isolate(leader)
        # What has come by now is on its disk a moment later.
        await asyncio.sleep(0.05)
        before = identity(forgetful)
        assert before != 0
        forgetful.crash(power=True)
        other.crash(power=False)
        region.start(other.name, forgetful.name)
        assert await region.until(lambda: forgetful.ready, 1)
        assert identity(forgetful) == before, "the same replica, still known by what it is"
        region.network.heal()
        assert await region.until(lambda: region.voting(*THREE), 30)

    steer(script, seed=3)


def test_one_replica_becomes_three_and_one_again() -> None:
    async def script(region: Steered) -> None:
        first = await region.begun()
        assert first.name == "n0"
        for number in range(60):
            await region.put(b"%d" % number)
        region.start("n1", "n2")
        await asyncio.sleep(5)
        assert region.voting("n0"), "nobody is taken in unasked"
        for new in ("n1", "n2"):
            await region.change(add=new)
        assert region.voting(*THREE)
        first.crash(power=False)
        assert await region.led() is not first, "the new ones can go on without the first"
        first.start()
        assert await region.until(region.agreed, 5)
        leader = await region.led()
        gone = region.others(leader)
        for host in gone:
            await region.change(remove=host.name)
            await asyncio.sleep(1)
        assert region.voting(leader.name)
        term = max(region.oracle.leaders)
        await region.put(b"alone")
        await asyncio.sleep(20)
        assert max(region.oracle.leaders) == term, "those taken out do not disturb"

    steer(script, size=1, spare=2, seed=4)


def test_a_learner_does_not_count_before_it_has_caught_up() -> None:
    async def script(region: Steered) -> None:
        leader = await region.begun()
        region.start("n3")
        region.network.keep = lambda _sender, receiver, kind: receiver == "n3" and kind == "append"
        change = asyncio.ensure_future(region.change(add="n3"))
        assert await region.until(lambda: region.members().learners == ("n3",), 10)
        other = next(host for host in region.others(leader) if host.name != "n3")
        other.crash(power=False)
        await asyncio.sleep(2)
        assert not change.done()
        await region.put(b"two of three")
        other.start()
        region.network.on_time()
        await change
        assert region.voting(*THREE, "n3")

    steer(script, size=3, spare=1, seed=5)


def test_no_change_before_the_one_before_is_committed() -> None:
    async def script(region: Steered) -> None:
        leader = await region.begun()
        one, other = region.others(leader)
        core, members = group_of(leader)._core, region.members()
        core.propose_members(members.without(one.name))
        assert not core.change_possible
        with pytest.raises(AssertionError):
            core.propose_members(region.members().without(other.name))

    steer(script, seed=6)


def test_a_replica_is_not_taken_out_when_the_rest_would_not_answer() -> None:
    async def script(region: Steered) -> None:
        down, up = region.others(await region.begun())
        down.crash(power=False)
        await asyncio.sleep(1.5)
        with pytest.raises(errors.NotReady):
            await region.change(remove=up.name)
        await region.change(remove=down.name)

    steer(script, seed=7)


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
