"""Histories of stores of several regions: nothing that must not be, whatever fails.

``make sim SCOPE=regions`` runs more of them.
"""

from __future__ import annotations

import pytest
from sim.scopes import run_seed

HISTORIES = 150
PER_TEST = 10


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, HISTORIES, PER_TEST))
def test_no_history_of_several_regions_shows_a_violation(first: int) -> None:
    operations = 0
    for seed in range(first, first + PER_TEST):
        report = run_seed(seed, "regions")
        assert report.violation is None, "\n" + report.text()
        operations += report.notes["done"]
    assert operations > 30 * PER_TEST, "clients hardly got anything done, so this says nothing"
