"""Histories of stores that are archived: nothing that must not be, whatever fails and whoever ends.

``make sim SCOPE=archive`` runs more of them.
"""

from __future__ import annotations

from collections import Counter

import pytest
from sim.scopes import run_seed

HISTORIES = 20
PER_TEST = 5


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, HISTORIES, PER_TEST))
def test_no_history_of_an_archive_shows_a_violation(first: int) -> None:
    notes: Counter[str] = Counter()
    for seed in range(first, first + PER_TEST):
        report = run_seed(seed, "archive")
        assert report.violation is None, "\n" + report.text()
        notes.update(report.notes)
    assert notes["objects"] > 10 * PER_TEST, "hardly anything was archived, so this says nothing"
    assert notes["restores"] > 5 * PER_TEST
    assert notes["refused_of_damaged"]
