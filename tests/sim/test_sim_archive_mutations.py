"""The simulator of archives can fail: each of these mistakes is caught within the seeds that are stated."""

from __future__ import annotations

import pytest
from sim.archive.mutations import ARCHIVE_MUTATIONS
from sim.caught import first_violation


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(ARCHIVE_MUTATIONS))
def test_the_simulator_of_archives_catches(name: str) -> None:
    seeds = ARCHIVE_MUTATIONS[name].within_seeds
    caught = first_violation("archive", name, seeds)
    assert caught.startswith("archive: "), f"within {seeds} seeds: {caught or 'nothing'}"
