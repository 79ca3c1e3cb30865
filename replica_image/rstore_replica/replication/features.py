"""Which commands may be put into the log while replicas of several versions run.

Each kind of command has a *feature level*. A replica that meets a kind it does not know has to stop, so a kind is
proposed only when every replica of every region has reported its level. Replicas report with each Raft message, regions
with each round of the primary's tenure; one that has reported nothing is at level 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rstore_api.errors import FeatureNotActive

from rstore_replica.replication.ports import RegionStateView, ReplicatedMachine


def active_level(state: RegionStateView, region: str, own_level: int, reported: Mapping[str, int]) -> int:
    """Returns the level that every replica of the store knows, as far as this region's leader can tell.

    ``own_level`` is this region's. The primary's leader has the reports of all regions, the others have what the
    primary's leader reported for the store. A level once applied stays active.
    """
    topology = state.topology
    others: tuple[str, ...] = ()
    if topology is not None:
        others = tuple(topology.region_names) if state.primary else (topology.primary_region,)
    levels = [own_level, *(reported.get(name, 1) for name in others if name != region)]
    return max(state.feature_level, min(levels))


class Features:
    """What regions have reported to this replica, and what may be proposed by it."""

    def __init__(self, *, region: str, machine: ReplicatedMachine, required_level: Callable[[bytes], int]) -> None:
        """``required_level`` is that of an entry of the log."""
        self._region = region
        self._machine = machine
        self._required_level = required_level
        self._reported: dict[str, int] = {}

    def report(self, region: str, level: int) -> None:
        """Another region's leader has reported; 0 stands for a version that has no levels. Only what regions of the
        topology report is kept; the others report again when they are in it.
        """
        topology = self._machine.state.topology
        names = frozenset(() if topology is None else topology.region_names)
        reported = {**self._reported, region: level or 1}
        self._reported = {name: reported[name] for name in names & reported.keys()}

    def active_level(self, own_level: int) -> int:
        """See :func:`active_level`."""
        return active_level(self._machine.state, self._region, own_level, self._reported)

    def admit(self, entry: bytes, own_level: int) -> None:
        """Raises FeatureNotActive when some replica of the store may not know what the entry holds."""
        required = self._required_level(entry)
        if required > 1 and required > (active := self.active_level(own_level)):
            raise FeatureNotActive(f"it needs feature level {required}; only level {active} is known to all")
