"""Histories of stores of several regions, seeds 150 to 299: nothing that must not be, whatever fails.

``make sim SCOPE=regions`` runs more of them. Two files, because the tests of a file run one after the other.
"""

from __future__ import annotations

import pytest
from sim.regions.histories import no_violation

PER_TEST = 10


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(150, 300, PER_TEST))
def test_no_history_of_several_regions_shows_a_violation(first: int) -> None:
    no_violation(first, PER_TEST)
