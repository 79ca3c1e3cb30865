"""What is to go wrong does go wrong, and the region gets over it."""

from __future__ import annotations

import pytest
from sim.fault_rows import only_faults
from sim.scopes import run_seed

SEEDS = range(20)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("full_disks", ["full", "refused_for_room"]),
        ("sync_fails", ["failed_syncs"]),
        ("write_back_fails", ["failed_syncs"]),
        ("rolled_back_volume", ["rolled_back", "recognised"]),
        ("emptied_volume", ["emptied", "restored"]),
        ("death_in_installation", ["died_installing", "restarts"]),
        ("resize", ["added", "removed"]),
    ],
)
def test_a_fault_happens_and_leaves_no_violation(fault: str, seen: list[str]) -> None:
    missing = set(seen)
    with only_faults((fault,)):
        for seed in SEEDS:
            report = run_seed(seed)
            assert report.violation is None, "\n" + report.text()
            missing -= {note for note in seen if report.notes[note]}
            if not missing:
                return
    raise AssertionError(f"never seen: {missing}")
