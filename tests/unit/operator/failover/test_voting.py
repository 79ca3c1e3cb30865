"""Who votes, as tables: topologies in, the voters, and whether those present decide, out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rstore_api.domain.topology import RegionTopology, Topology
from rstore_api.domain.voters import WITNESS
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, RegionObserved, ReplicaStatus
from rstore_operator.failover.voting import Electorate, electorate
from rstore_operator.resource.state import SentTopology

LEADER = ReplicaStatus("r-0", "r", "s", True, "r-0", 1, 1, 1, 1, True, True)


def leader(region: str, regions: str) -> ReplicaStatus:
    """One whose topology has those regions, a letter each."""
    topology = Topology(1, 1, regions[0], tuple(RegionTopology(name, ()) for name in regions))
    return replace(LEADER, region=region, topology=topology)


def board(names: str, *, witness: bool = False) -> frozenset[str]:
    return frozenset(names) | ({WITNESS} if witness else frozenset())


ABC = board("abc")
BOARDS: list[tuple[str, str, str, tuple[str, ...], set[frozenset[str]]]] = [
    # by leaders that answer, by leaders remembered, wanted, sent to the primary
    ("", "", "", (), set()),
    ("", "", "abc", (), {ABC}),
    ("", "", "ab", (), {board("ab", witness=True)}),
    ("", "", "a", (), {board("a")}),
    ("abc", "", "abc", (), {ABC}),
    ("abc", "", "abcde", (), {ABC, board("abcde")}),
    ("", "abc", "ab", (), {ABC, board("ab", witness=True)}),
    ("", "", "abc", ("abcd", "a"), {ABC, board("abcd", witness=True), board("a")}),
]


@pytest.mark.parametrize(("answering", "remembered", "wanted", "sent", "boards"), BOARDS)
def test_the_voters_of_every_topology_that_may_be_in_force_count(
    answering: str, remembered: str, wanted: str, sent: tuple[str, ...], boards: set[frozenset[str]]
) -> None:
    seen = {"a": RegionObserved("a", (), (leader("a", answering),))} if answering else {}
    memory = Memory(last_leaders={"a": leader("a", remembered)} if remembered else {})
    record = [SentTopology(1, number, tuple(names)) for number, names in enumerate(sent)]
    voters = electorate(Observed(regions=seen), memory, tuple(wanted), record)
    assert voters.boards == boards
    assert voters.witness == any(WITNESS in one for one in boards)
    assert voters.regions == frozenset().union(*boards) - {WITNESS}


GONE = "; or, where one is gone for good, remove it from the spec, and delete its StatefulSet and its claims"
TWO_BOARDS = frozenset({ABC, board("cde")})
DECISIONS: list[tuple[frozenset[frozenset[str]], str, bool, str]] = [
    (frozenset(), "abc", False, ""),
    (frozenset({ABC}), "ab", True, ""),
    (frozenset({ABC}), "a", False, "1 of 3 voters can be reached, 2 are needed; bring back one of: b, c" + GONE),
    (frozenset({ABC}), "axyz", False, "1 of 3 voters can be reached, 2 are needed; bring back one of: b, c" + GONE),
    (TWO_BOARDS, "ab", False, "0 of 3 voters can be reached, 2 are needed; bring back one of: c, d, e" + GONE),
    (TWO_BOARDS, "ace", True, ""),
]


@pytest.mark.parametrize(("boards", "present", "decides", "shortfall"), DECISIONS)
def test_a_majority_of_every_topology_decides(
    boards: frozenset[frozenset[str]], present: str, decides: bool, shortfall: str
) -> None:
    voters = Electorate(boards)
    assert (voters.decides(set(present)), voters.shortfall(set(present))) == (decides, shortfall)
