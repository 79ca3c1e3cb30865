"""The simulator can fail: each of these mistakes in the replica's code is caught within the seeds that are stated."""

from __future__ import annotations

import pytest
from sim.caught import first_violation
from sim.mutations import MUTATIONS


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_the_simulator_catches(name: str) -> None:
    seeds = MUTATIONS[name].within_seeds
    caught = first_violation("region", name, seeds)
    assert caught, f"not caught within {seeds} seeds"
    assert not caught.startswith("a task ended with"), caught
