"""What can be simulated, by name."""

from __future__ import annotations

from pathlib import Path

from sim.scenario_region import RegionScenario
from sim.world import Report, Scenario, World, simulate, spare_the_collector


def _regions(world: World, root: Path) -> Scenario:
    """Imported when it is used: it needs all of the operator."""
    from sim.regions.scenario import RegionsScenario

    spare_the_collector("the operator")
    return RegionsScenario(world, root)


def _archive(world: World, root: Path) -> Scenario:
    from sim.archive.scenario import ArchiveScenario

    spare_the_collector("the operator and the archiver")
    return ArchiveScenario(world, root)


SCOPES = {"region": RegionScenario, "regions": _regions, "archive": _archive}


def run_seed(seed: int, scope: str = "region") -> Report:
    """One history."""
    return simulate(seed, scope, SCOPES[scope])
