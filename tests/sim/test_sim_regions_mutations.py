"""The simulator of regions can fail: each of these mistakes is caught within the seeds that are stated."""

from __future__ import annotations

import pytest
from sim.caught import ENDED, first_violation
from sim.regions.mutations import REGION_MUTATIONS

FOUND = (ENDED, "I1", "I2", "I3", "I4", "I5", "history", "lease", "watch", "sim-", "the API server refuses")
"""How what the simulator says begins when it has found out; ``sim-``: a replica that differs from others."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(REGION_MUTATIONS))
def test_the_simulator_of_regions_catches(name: str) -> None:
    seeds = REGION_MUTATIONS[name].within_seeds
    caught = first_violation("regions", name, seeds)
    assert caught.startswith(FOUND), f"within {seeds} seeds: {caught or 'nothing'}"
    assert "after its creation" not in caught, "nothing works at all"
