"""What can be simulated, by name."""

from __future__ import annotations

from sim.scenario_region import RegionScenario
from sim.world import Report, simulate

SCOPES = {"region": RegionScenario}


def run_seed(seed: int, scope: str = "region") -> Report:
    """One history."""
    return simulate(seed, scope, SCOPES[scope])
