"""What one run's store is like: regions, replicas, rules, timing; by the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from sim.fault_rows import only_kinds
from sim.regions.host import Profile

NAMES = ("east", "west", "south", "north", "middle")
MOST_REGIONS = 3
"""In a store whose regions come and go."""
MOST_REPLICAS = 3
ROLLED_BACK_RUNS = 0.05
EDITS = {
    "scale_region",
    "add_region",
    "remove_region",
    "change_lease",
    "edit_while_cut",
    "change_voters_amid_cut",
    "forget_regions",
    "forget_too_early",
}
"""Kinds of faults that are edits of the spec."""


@dataclass(frozen=True)
class Shape:
    """What one run is like: regions, replicas, settings, operators and clients."""

    spec: dict[str, Any]
    """Of the store object."""
    replicas: dict[str, int]
    profile: Profile
    operators: int
    clients: int
    pause_seconds: float
    far_seconds: tuple[float, float]
    compactions: float
    """How many of the clients' requests give up history."""
    amid_failovers: bool = False
    """Whether nearly all that goes wrong does so while a failover is under way."""
    edited: bool = False
    """Whether people change replicas, regions and leases meanwhile."""
    rolled_back: bool = False
    """Whether volumes go back in time, which a region with three replicas is to notice."""
    spare: tuple[str, ...] = ()
    """Regions that may come later."""

    @property
    def semi_sync_regions(self) -> int:
        """How many other regions must hold what is acknowledged."""
        replication = self.spec["replication"]
        return replication.get("minInSyncRegions", 1) if replication.get("mode") == "SemiSync" else 0

    @property
    def degrades(self) -> bool:
        """Whether writes are acknowledged without the other regions after a while."""
        return bool(self.spec["replication"].get("onTimeout") == "Degrade")

    @property
    def machines(self) -> dict[str, int]:
        """How many there are by region, for all that may come."""
        if not self.edited:
            return self.replicas
        return dict.fromkeys((*self.replicas, *self.spare), MOST_REPLICAS)

    def text(self) -> str:
        """One line."""
        sizes = " ".join(f"{name}:{count}" for name, count in self.replicas.items())
        rules = f"{self.spec['failover']} {self.spec['replication']}"
        return f"{sizes}; {self.operators} operators, {self.clients} clients; {rules}"


def shape_of(rng: random.Random) -> Shape:
    """Mostly small, so that everything happens often and costs little."""
    chosen = set(only_kinds())
    rolled_back = "rolled_back_volume" in chosen or (not chosen and rng.random() < ROLLED_BACK_RUNS)
    amid_failovers = not chosen and not rolled_back and rng.random() < 0.25
    edited = not amid_failovers and not rolled_back and (rng.random() < 0.35 or bool(chosen & EDITS))
    count = rng.choice([1, 2, 2, 3, 3]) if edited else rng.choice([2, 2, 3, 3, 3, 3, 3 if amid_failovers else 5])
    if chosen & {"forget_regions", "forget_too_early"}:
        count = 3
    if "change_voters_amid_cut" in chosen:
        count = rng.choice([2, 3, 5, 5])
    if rolled_back:
        count = 2
    if "rolled_back_region" in chosen:
        count = 3
    if "rolled_back_at_once" in chosen:
        count = rng.choice([2, 3])
    names = NAMES[:count]
    replicas = {name: 3 if rng.random() < 0.1 and not amid_failovers else 1 for name in names}
    if rolled_back or "rolled_back_region" in chosen:
        replicas[rng.choice(names)] = 3
    failover: dict[str, Any] = {
        "leaseDuration": rng.choice(["2s", "3s"] if amid_failovers else ["1s", "1s", "2s", "3s"]),
        "failoverDelay": rng.choice(["500ms", "1s", "2s"]),
        "switchoverTimeout": rng.choice(["2s", "5s", "30s"]),
        "policy": rng.choice(["Automatic"] * 5 + ["Manual"]),
        "failback": rng.choice(["Manual", "Manual", "Automatic"]),
    }
    if "change_voters_amid_cut" in chosen:
        failover["leaseDuration"] = "8s"
    if "freeze_target" in chosen:
        failover["switchoverTimeout"] = "30s"
    if chosen & {"rolled_back_region", "rolled_back_at_once"}:
        failover["policy"] = "Automatic"
    spec = {
        "primaryRegion": rng.choice(names),
        "regions": [
            {"name": name, "replicas": count, "priority": rng.choice([10, 10, 20])} for name, count in replicas.items()
        ],
        "failover": failover,
        "persistence": {"pvcPolicy": rng.choice(["Retain", "Retain", "Delete"])},
        "replication": _replication(rng, len(names)),
    }
    raft: dict[str, Any] = {"segment_bytes": 16384, "checkpoint_chunk_timeout_seconds": 2.0}
    if rng.random() < 0.4:
        raft |= {"checkpoint_entries": rng.choice([20, 60]), "trailing_entries": rng.choice([0, 5])}
    return Shape(
        spec=spec,
        replicas=replicas,
        profile=Profile(raft=raft),
        operators=rng.choice([1, 1, 2]),
        clients=rng.choice([2, 3, 4]),
        pause_seconds=rng.choice([0.1, 0.3]),
        far_seconds=rng.choice([(0.001, 0.01), (0.002, 0.04), (0.02, 0.1)]),
        compactions=rng.choice([0.0, 0.0, 0.02, 0.1]),
        amid_failovers=amid_failovers,
        edited=edited,
        rolled_back=rolled_back,
        spare=NAMES[count : len(NAMES) if "change_voters_amid_cut" in chosen else MOST_REGIONS] if edited else (),
    )


def _replication(rng: random.Random, regions: int) -> dict[str, Any]:
    found: dict[str, Any] = {"batchInterval": rng.choice(["1ms", "10ms", "50ms"])}
    if regions > 1 and rng.random() < 0.35:
        found |= {
            "mode": "SemiSync",
            "minInSyncRegions": rng.choice([1, 2]) if regions > 2 else 1,
            "semiSyncTimeout": rng.choice(["300ms", "1s", "3s"]),
            "onTimeout": rng.choice(["Fail", "Fail", "Fail", "Degrade"]),
        }
    return found
