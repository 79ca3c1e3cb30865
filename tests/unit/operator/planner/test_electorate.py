"""The topologies that the primary was sent are persisted: a failover needs a majority of their regions."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.domain.topology import RegionTopology, SyncRule, Topology
from rstore_api.domain.voters import voters
from rstore_operator.facts.actions import PushTopology, Target
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, RegionObserved, ReplicaStatus
from rstore_operator.facts.truth import Truth
from rstore_operator.planner.electorate import next_sent, version_above
from rstore_operator.planning.scaling.topology import desired_topology
from rstore_operator.resource.state import SentTopology
from unit.operator.lossy_world import LossyWorld, running

TWO = [("us-east", 1), ("eu-west", 1)]


class LoneWorld(LossyWorld):
    """A region that knows of no other needs no tenure."""

    def holds(self, name: str) -> bool:
        region = self.regions[name]
        alone = region.topology is not None and not voters([item.name for item in region.topology.regions])
        return region.primary and (alone or super().holds(name))


def regions(world: LossyWorld, listed: list[tuple[str, int]]) -> None:
    """Edits the spec."""
    world.spec = {**world.spec, "regions": [{"name": name, "replicas": size} for name, size in listed]}
    world.generation += 1
    world.compare_objects = True


def running_alone() -> tuple[LoneWorld, object]:
    """A store of two regions of which one was removed, and the volume that is left of that."""
    world = running(TWO)
    world.__class__ = LoneWorld
    volume = copy.deepcopy(world.regions["eu-west"])
    regions(world, TWO[:1])
    world.run(3)
    assert list(world.regions) == ["us-east"]
    acknowledged = len(world.acked)
    world.run(2)
    assert len(world.acked) > acknowledged
    return world, volume


def come_back(world: LoneWorld, volume: object) -> None:
    """The removed region is listed again, and finds its volume; a new operator reaches only that one."""
    world.regions["eu-west"] = volume
    world.regions["us-east"].up = False
    world.cut.add("us-east")
    world.memory = Memory()
    regions(world, TWO)


def test_a_region_that_left_and_comes_back_does_not_take_over_from_one_that_does_not_know_it() -> None:
    world, volume = running_alone()
    come_back(world, volume)
    world.run(20)  # write() checks that two never acknowledge
    assert world.status["primaryRegion"] == "us-east"
    blocked = next(found for found in world.status["conditions"] if found["type"] == "FailoverBlocked")
    assert (blocked["status"], blocked["reason"]) == ("True", "NoMajority")
    assert "us-east" in blocked["message"]


def test_it_does_so_once_the_primary_counts_on_it() -> None:
    world, volume = running_alone()
    come_back(world, volume)
    world.run(5)
    world.cut.clear()
    world.regions["us-east"].up = True
    world.run(5)
    world.kill("us-east")
    world.run(12)
    assert world.status["primaryRegion"] == "eu-west"
    world.check_nothing_vanished()


def test_a_region_that_is_to_go_takes_over_where_it_has_most_data() -> None:
    """It goes once another one is primary."""
    world = running()
    world.regions["ap-south"].linked = False
    world.run(1)
    world.regions["ap-south"].linked = True
    world.kill("us-east")
    regions(world, [("us-east", 3), ("ap-south", 1)])
    world.run(12)
    assert world.status["primaryRegion"] == "eu-west"
    assert world.status["history"][-1]["revisionsLost"] == 0
    world.check_nothing_vanished()
    world.revive("us-east")
    world.run(5)
    world.annotations["replicatedstore.io/failover-to"] = "us-east"
    world.run(10)
    assert world.status["primaryRegion"] == "us-east"
    assert sorted(world.regions) == ["ap-south", "us-east"]


SETS = [("a",), ("a", "b"), ("a", "b", "c")]


def _seen(held: Topology) -> Observed:
    replica = ReplicaStatus("a-0", "a", "s", True, "a-0", 1, 1, 1, 1, True, True, topology=held)
    return Observed({"a": RegionObserved("a", (), (replica,))})


TRUTH = Truth(frozenset({"s"}), "a", 1, 1, 1)


class TwoOperators:
    """Two operators that look at a primary, record, and send topologies that arrive late, in any order, or never."""

    def __init__(self) -> None:
        self.held = Topology(1, 1, "a", (RegionTopology("a", ()),))
        self.record: tuple[SentTopology, ...] = ()
        self.written = 0
        self.looks: dict[int, tuple[Observed, tuple[SentTopology, ...], int]] = {}
        self.on_their_way: list[Topology] = []

    def look(self, operator: int) -> None:
        self.looks[operator] = (_seen(self.held), self.record, self.written)

    def act(self, operator: int, names: tuple[str, ...]) -> None:
        """What was seen is stale by now, perhaps; the record is written only on what was read."""
        if operator not in self.looks:
            return
        observed, record, written = self.looks.pop(operator)
        wanted = tuple(RegionTopology(name, ()) for name in names)
        above = version_above(record, 1, names)
        topology = desired_topology(wanted, primary_region="a", epoch=1, observed=observed, above=above)
        push = PushTopology("a", Target("a-0", "10.0.0.1", "a-0"), "s", topology)
        reported = next_sent(record, [push] if topology != observed.leader("a").topology else [], observed, TRUTH)
        if reported != record:
            if written != self.written:
                return
            self.record, self.written = reported, written + 1
        self.on_their_way.append(topology)

    def arrive(self, which: int) -> None:
        if self.on_their_way:
            topology = self.on_their_way.pop(which % len(self.on_their_way))
            if (topology.epoch, topology.version) > (self.held.epoch, self.held.version):
                self.held = topology

    def check(self) -> None:
        if self.record:
            names = {region.name for region in self.held.regions}
            assert names in [set(reported.regions) for reported in self.record], (self.held, self.record)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("look"), st.integers(1, 2)),
            st.tuples(st.just("act"), st.integers(1, 2), st.sampled_from(SETS)),
            st.tuples(st.just("arrive"), st.integers(0, 3)),
        ),
        max_size=40,
    )
)
@settings(max_examples=400)
def test_the_topology_that_the_primary_uses_is_always_persisted(steps: list[tuple]) -> None:
    world = TwoOperators()
    world.look(1)
    world.act(1, SETS[0])
    for kind, *arguments in steps:
        getattr(world, kind)(*arguments)
        world.check()


def test_the_record_is_pruned_once_the_primary_holds_something_as_new() -> None:
    world = TwoOperators()
    for names in (SETS[1], SETS[2], SETS[0]):
        for _ in range(2):
            world.look(1)
            world.act(1, names)
            world.arrive(0)
        assert [set(reported.regions) for reported in world.record] == [set(names)]


def test_what_was_sent_and_got_lost_does_not_stay_in_the_status() -> None:
    world = TwoOperators()
    for _ in range(2):
        world.look(1)
        world.act(1, SETS[0])
        world.arrive(0)
    world.look(1)
    world.act(1, SETS[1])
    world.on_their_way.clear()
    assert len(world.record) == 2
    for _ in range(2):
        world.look(1)
        world.act(1, SETS[0])
        world.arrive(0)
    assert [set(reported.regions) for reported in world.record] == [set(SETS[0])]


def held_by(region: str, epoch: int, version: int, names: str, sync: SyncRule | None = None) -> Observed:
    topology = Topology(epoch, version, region, tuple(RegionTopology(name, ()) for name in names), sync)
    primary = ReplicaStatus(
        f"{region}-0", region, "s", True, f"{region}-0", 1, 1, epoch, epoch, True, True, topology=topology
    )  # fmt: skip
    return Observed(regions={region: RegionObserved(region, (), (primary,))})


def sent(version: int, names: str, epoch: int = 1, mode: str = "Async") -> SentTopology:
    return SentTopology(epoch, version, tuple(names), mode)


SEMI = SyncRule(1, 5000, False)


NEXT: list[tuple[str, tuple[SentTopology, ...], Observed, tuple[SentTopology, ...]]] = [
    ("the primary is not seen", (sent(1, "ab"),), Observed(), (sent(1, "ab"),)),
    ("what it holds replaces what is older", (sent(1, "ab"),), held_by("a", 1, 2, "abc"), (sent(2, "abc"),)),
    ("what is newer stays", (sent(3, "ab"),), held_by("a", 1, 2, "abc"), (sent(2, "abc"), sent(3, "ab"))),
    ("that of a later epoch is newer", (sent(1, "ab", 2),), held_by("a", 1, 9, "a"), (sent(9, "a"), sent(1, "ab", 2))),
    (
        "the mode counts until it is replaced",
        (sent(2, "a"),),
        held_by("a", 1, 1, "a", SEMI),
        (sent(1, "a", 1, "SemiSync"), sent(2, "a")),
    ),
    ("as the primary holds it", (sent(1, "a", 1, "SemiSync"),), held_by("a", 1, 2, "a"), (sent(2, "a"),)),
    ("one of a former primary counts for nothing", (sent(1, "ab"),), held_by("b", 1, 2, "abc"), (sent(1, "ab"),)),
]


@pytest.mark.parametrize(("before", "observed", "after"), [row[1:] for row in NEXT], ids=[row[0] for row in NEXT])
def test_what_is_recorded_when_nothing_is_sent(
    before: tuple[SentTopology, ...], observed: Observed, after: tuple[SentTopology, ...]
) -> None:
    assert next_sent(before, [], observed, Truth(frozenset({"s"}), "a", 1, 1, 1)) == after


@pytest.mark.parametrize(
    ("record", "wanted", "above"),
    [((), "ab", 0), ((sent(4, "ab"),), "ab", 0), ((sent(4, "abc"),), "ab", 4), ((sent(4, "abc", 2),), "ab", 0)],
)
def test_a_topology_is_newer_than_what_was_sent_with_other_regions(
    record: tuple[SentTopology, ...], wanted: str, above: int
) -> None:
    assert version_above(record, 1, tuple(wanted)) == above
