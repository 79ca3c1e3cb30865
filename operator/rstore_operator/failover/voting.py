"""Which voters there are, and whether some of them are a majority whichever topology the primary uses."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rstore_api.domain.topology import Topology
from rstore_api.domain.voters import WITNESS, majority, voters

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed
from rstore_operator.resource.state import SentTopology


@dataclass(frozen=True)
class Electorate:
    """The voters of every topology that a region may use at the moment; no set is empty."""

    boards: frozenset[frozenset[str]]

    @property
    def regions(self) -> frozenset[str]:
        """Every region that votes in any of them."""
        return frozenset(voter for board in self.boards for voter in board) - {WITNESS}

    @property
    def witness(self) -> bool:
        """Whether the operator votes in any of them."""
        return any(WITNESS in board for board in self.boards)

    def decides(self, present: Collection[str]) -> bool:
        """Whether ``present`` are a majority of every topology's voters."""
        return bool(self.boards) and all(len(board & set(present)) >= majority(len(board)) for board in self.boards)

    def shortfall(self, present: Collection[str]) -> str:
        """What is missing, for a person; "" when nothing is."""
        lacking = [board for board in self.boards if len(board & set(present)) < majority(len(board))]
        if not lacking:
            return ""
        board = max(lacking, key=lambda board: (len(board), sorted(board)))
        absent = ", ".join(sorted(board - set(present) - {WITNESS}))
        return (
            f"{len(board & set(present))} of {len(board)} voters can be reached, {majority(len(board))} are needed; "
            f"bring back one of: {absent}; or, where one is gone for good, remove it from the spec, and delete its "
            "StatefulSet and its claims"
        )


def electorate(
    observed: Observed, memory: Memory, wanted: Collection[str], sent: Collection[SentTopology] = ()
) -> Electorate:
    """Return the voters of the topologies that replicas hold, that leaders held when they answered last, of the
    ``wanted`` regions, and of the topologies that may have been ``sent`` to the primary, as `.status` has them.

    A store of one region has no tenure: nothing but that region itself can stop it.
    """
    held: Iterable[Topology | None] = (
        replica.topology for replica in (*observed.replicas(), *memory.last_leaders.values())
    )
    sets = {frozenset(region.name for region in topology.regions) for topology in held if topology is not None}
    sets |= {frozenset(item.regions) for item in sent}
    if wanted:
        sets.add(frozenset(wanted))
    return Electorate(frozenset(voters(names) or names for names in sets if names))
