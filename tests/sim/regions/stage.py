"""What every kind of fault between regions works with."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.regions.sites import Pairs

if TYPE_CHECKING:
    from sim.regions.fleet import Fleet
    from sim.regions.host import Host
    from sim.regions.kube import Kube
    from sim.regions.operators import OperatorHost
    from sim.regions.wires import Wires
    from sim.trace import Trace


@dataclass(frozen=True)
class Stage:
    """What faults of all kinds act on, and the questions they ask of it."""

    fleet: Fleet
    operators: list[OperatorHost]
    kube: Kube
    wires: Wires
    rng: random.Random
    trace: Trace

    @property
    def regions(self) -> list[str]:
        """That have pods; those of the spec while there are none."""
        return self.fleet.regions or [region["name"] for region in self.kube.spec["regions"]]

    @property
    def operator_sites(self) -> set[str]:
        """Where the operators are."""
        return {operator.site for operator in self.operators}

    def primary(self) -> str:
        """As the object has it."""
        return str(self.kube.status.get("primaryRegion") or self.regions[0])

    def some_region(self) -> str:
        """The primary, more often than not."""
        return self.primary() if self.rng.random() < 0.55 else self.rng.choice(self.regions)

    def while_seconds(self) -> float:
        """For how long something is amiss."""
        return self.rng.choice([0.3, 1.5, 4.0, 8.0]) * self.rng.uniform(0.5, 1.5)

    def ask(self, **wanted: str) -> None:
        """By annotations."""
        self.trace.fault(f"asked for {wanted}")
        self.kube.annotate(**wanted)

    async def start(self, hosts: list[Host]) -> None:
        """One after the other, those that are to run and do not."""
        for host in hosts:
            await asyncio.sleep(self.rng.uniform(0.0, 0.3))
            if host.wanted and not host.running:
                host.start()

    async def changed_from(self, region: str) -> None:
        """Until another region is primary, or for as long as one may wait for that here."""
        for _ in range(40):
            if self.primary() != region:
                break
            await asyncio.sleep(0.25)
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 3.0]))


def both_ways(one: set[str], other: set[str]) -> Pairs:
    """All lines between these sites and those."""
    return {(a, b) for a in one for b in other if a != b} | {(b, a) for a in one for b in other if a != b}
