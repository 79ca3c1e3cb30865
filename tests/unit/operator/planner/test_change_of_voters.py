"""When voters change while the primary reaches few of them, no failover ends before its tenure does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from rstore_api.domain.topology import RegionTopology, Topology
from rstore_api.domain.voters import majority, voters
from rstore_operator.facts.actions import PushTopology, Target
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, RegionObserved, ReplicaStatus, Tenure
from rstore_operator.facts.truth import Truth
from rstore_operator.failover.voting import electorate
from rstore_operator.planner.electorate import next_sent
from rstore_operator.resource.state import SentTopology
from rstore_replica.replication.tenure.rules import Granter, TenureHolder

SECONDS = 3.0
TRUTH = Truth(frozenset({"s"}), "A", 1, 1, 1)


def topology(version: int, names: str) -> Topology:
    return Topology(1, version, "A", tuple(RegionTopology(name, ()) for name in names))


@dataclass
class Store:
    """The primary A, its voters, and what an operator persists that looks at A and at nobody else."""

    held: Topology
    granters: dict[str, Granter] = field(default_factory=lambda: {name: Granter(SECONDS) for name in "ABCDE"})
    leader: TenureHolder = field(default_factory=TenureHolder)
    record: tuple[SentTopology, ...] = ()

    def __post_init__(self) -> None:
        self.leader.begin(1, voters(self.held.region_names), 1)

    def round(self, now: float, granting: str) -> None:
        number = self.leader.start_round(now, version=self.held.version)
        for name in granting:
            seconds = self.granters[name].grant(
                1, "A", promised_epoch=1, received_at=now, asked_seconds=SECONDS, bound_seconds=SECONDS
            )
            self.leader.granted(1, number, name, seconds)

    def another_leader(self) -> TenureHolder:
        """The one before does not know, and holds what it was granted."""
        before, self.leader = self.leader, TenureHolder()
        self.leader.begin(1, before.voters, 1000)
        return before

    def apply(self, new: Topology) -> None:
        self.held = new
        self.leader.change_voters(voters(new.region_names))

    def look(self) -> None:
        """Persists what counts."""
        tenure = Tenure(True, 0, 3000, granted_version=self.leader.granted_version)
        replica = ReplicaStatus("A-0", "A", "s", True, "A-0", 1, 1, 1, 1, True, True, topology=self.held, tenure=tenure)
        observed = Observed({"A": RegionObserved("A", (), (replica,))})
        self.record = next_sent(self.record, [], observed, TRUTH)

    def clear_at(self, now: float, fenced: str) -> float | None:
        """When a new operator that fences these regions may promote one of them; None: they are too few."""
        board = electorate(Observed({}), Memory(), self.held.region_names, self.record)
        if not board.decides(fenced):
            return None
        return now + max(self.granters[name].remaining(now, -100.0, SECONDS) for name in fenced)


@pytest.mark.parametrize(
    ("before", "granting", "after", "fenced"),
    [
        ("ABC", "AB", "ABCDE", "CDE"),
        ("ABCDE", "ABC", "ADE", "DE"),
    ],
)
def test_the_leader_stops_at_once_and_the_voters_before_count_until_the_new_ones_granted(
    before: str, granting: str, after: str, fenced: str
) -> None:
    store = Store(topology(1, before))
    store.round(0.0, granting)
    store.look()
    store.apply(topology(2, after))
    assert not store.leader.held(1, 0.1), "its granters are no majority of the new voters"
    store.look()
    assert [set(board.regions) for board in store.record] == [set(before), set(after)]
    assert store.clear_at(0.1, fenced) is None
    store.round(0.2, after)
    store.look()
    assert [set(board.regions) for board in store.record] == [set(after)]
    clear = store.clear_at(0.3, fenced)
    assert clear is not None
    assert not store.leader.held(1, clear)


@pytest.mark.parametrize(
    ("before", "granting", "after", "fenced"),
    [
        ("ABC", "AB", "ABCDE", "CDE"),
        ("ABCDE", "ABC", "ADE", "DE"),
    ],
)
def test_a_leader_that_another_took_over_from_is_waited_for(
    before: str, granting: str, after: str, fenced: str
) -> None:
    """It never learns of the change, and may acknowledge what was in flight within its tenure."""
    store = Store(topology(1, before))
    store.round(0.0, granting)
    store.look()
    former = store.another_leader()
    store.apply(topology(2, after))
    assert former.held(1, 0.1)
    store.look()
    assert store.clear_at(0.1, fenced) is None, "a majority of the voters before is missing"
    newest = "".join(sorted(voters(after)))[: majority(len(after))]
    store.round(0.2, newest)
    store.look()
    clear = store.clear_at(0.3, fenced)
    assert clear is not None
    assert not former.held(1, clear)


def test_a_replica_of_a_version_that_does_not_report_it_is_believed_as_before() -> None:
    store = Store(topology(1, "ABC"))
    store.look()
    store.held = topology(2, "ABCDE")
    replica = ReplicaStatus("A-0", "A", "s", True, "A-0", 1, 1, 1, 1, True, True, topology=store.held)
    for tenure in (None, Tenure(True, 0, 3000)):
        seen = Observed({"A": RegionObserved("A", (), (replace(replica, tenure=tenure),))})
        assert [board.version for board in next_sent(store.record, [], seen, TRUTH)] == [2]


def test_a_store_of_one_region_has_no_tenure_to_wait_for() -> None:
    store = Store(topology(1, "ABC"))
    store.look()
    store.apply(topology(2, "A"))
    store.look()
    assert [board.regions for board in store.record] == [("A",)]


def test_voters_of_an_earlier_epoch_count_until_a_round_of_the_new_one_was_granted() -> None:
    store = Store(topology(1, "ABC"), record=(SentTopology(0, 7, ("A", "B")),))
    store.look()
    assert [(board.epoch, board.version) for board in store.record] == [(0, 7), (1, 1)]
    store.round(0.0, "AB")
    store.look()
    assert [(board.epoch, board.version) for board in store.record] == [(1, 1)]


def test_the_record_stays_short_while_replicas_move_and_nothing_is_granted() -> None:
    store = Store(topology(1, "ABC"))
    for version in range(2, 50):
        push = PushTopology("A", Target("A-0", "10.0.0.1", "A-0"), "s", topology(version, "ABC"))
        store.record = next_sent(store.record, [push], Observed({}), TRUTH)
        store.held = topology(version, "ABC")
        store.look()
    assert store.record == (SentTopology(1, 49, ("A", "B", "C"), "Async"),)
