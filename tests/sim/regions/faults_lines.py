"""What goes wrong on the lines between regions, operators, clients and the Kubernetes API."""

from __future__ import annotations

import asyncio

from sim.fault_rows import Kinds
from sim.regions.sites import API_SITE, Pairs, clients_site
from sim.regions.stage import Stage, both_ways


class LineFaults:
    """Kinds of faults; see :class:`sim.regions.faults.RegionFaults`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rng = stage.rng
        self.kinds: Kinds = [
            (4, self._cut_regions),
            (3, self._isolate_region),
            (3, self._cut_primary_from_regions),
            (2, self._cut_mesh),
            (2, self._cut_operator),
            (1, self._cut_one_way),
            (2, self._slow_lines),
            (2, self._drop_connections),
        ]

    async def _cut_for_a_while(self, pairs: Pairs, what: str, seconds: float | None = None) -> None:
        stage = self._stage
        stage.trace.fault(f"cut {what}")
        stage.wires.cut(pairs)
        await asyncio.sleep(stage.while_seconds() if seconds is None else seconds)
        stage.trace.fault(f"heal {what}")
        stage.wires.heal(pairs)

    def _between(self, one: set[str], other: set[str]) -> Pairs:
        there = {(a, b) for a in one for b in other if a != b}
        back = {(b, a) for a, b in there}
        return self._rng.choice([there | back, there | back, there, back])

    async def _cut_regions(self) -> None:
        regions = self._stage.regions
        if len(regions) < 2:
            return
        part = set(self._rng.sample(regions, self._rng.randint(1, len(regions) - 1)))
        rest = set(regions) - part
        await self._cut_for_a_while(self._between(part, rest), f"{sorted(part)} from {sorted(rest)}")

    async def _isolate_region(self) -> None:
        """From all but its clients, or from those as well."""
        regions, region = self._stage.regions, self._stage.some_region()
        others = set(regions) - {region} | self._stage.operator_sites | {API_SITE}
        others |= {clients_site(other) for other in regions if other != region}
        if self._rng.random() < 0.3:
            others.add(clients_site(region))
        await self._cut_for_a_while(self._between({region}, others), f"{region} from everybody")

    async def _cut_primary_from_regions(self) -> None:
        """For long; whoever else there is, operators and clients, sees them all."""
        region = self._stage.primary()
        others = set(self._stage.regions) - {region}
        seconds = self._rng.choice([3.0, 6.0, 10.0]) * self._rng.uniform(0.7, 1.3)
        await self._cut_for_a_while(self._between({region}, others), f"{region} from the other regions", seconds)

    async def _cut_mesh(self) -> None:
        """No region reaches another one, operators and clients see them all."""
        regions = set(self._stage.regions)
        seconds = self._rng.choice([3.0, 8.0, 12.0]) * self._rng.uniform(0.7, 1.3)
        await self._cut_for_a_while(both_ways(regions, regions), "all regions from each other", seconds)

    async def _cut_operator(self) -> None:
        sites = {site for site in sorted(self._stage.operator_sites) if self._rng.random() < 0.7}
        regions = set(self._stage.regions) if self._rng.random() < 0.3 else {self._stage.some_region()}
        await self._cut_for_a_while(self._between(sites, regions), f"{sorted(sites)} from {sorted(regions)}")

    async def _cut_one_way(self) -> None:
        """Each region hears somebody that does not hear it, in a ring; operators may be in it."""
        sites = [*self._stage.regions, *sorted(self._stage.operator_sites)]
        self._rng.shuffle(sites)
        ring = set(zip(sites, [*sites[1:], sites[0]], strict=True))
        pairs = {pair for pair in sorted(ring) if self._rng.random() < 0.8}
        await self._cut_for_a_while(pairs, f"one way {sorted(pairs)}")

    async def _slow_lines(self) -> None:
        stage = self._stage
        stage.wires.extra_seconds = self._rng.choice([0.05, 0.2, 0.8])
        stage.trace.fault(f"lines are {stage.wires.extra_seconds} s slower")
        await asyncio.sleep(stage.while_seconds())
        stage.wires.extra_seconds = 0.0
        stage.trace.fault("lines are as before")

    async def _drop_connections(self) -> None:
        regions = self._stage.regions
        if len(regions) < 2:
            return
        one, other = self._rng.sample(regions, 2)
        self._stage.trace.fault(f"connections of {one} and {other} break")
        for _ in range(self._rng.choice([1, 1, 5])):
            self._stage.wires.drop(one, other)
            await asyncio.sleep(self._rng.uniform(0.0, 0.4))
