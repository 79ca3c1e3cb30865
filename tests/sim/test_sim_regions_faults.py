"""What is to go wrong between regions does go wrong, and the store gets over it."""

from __future__ import annotations

import pytest
from sim.fault_rows import only_faults
from sim.scopes import run_seed

SEEDS = range(12)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("scale_region", ["pods_made", "pods_ended"]),
        ("add_region", ["regions_made"]),
        ("remove_region", ["regions_ended"]),
        ("change_lease", ["pods_renewed"]),
        ("edit_while_cut", ["regions_made"]),
        ("create_again", ["regions_ended"]),
        ("lose_status", ["lose_status"]),
        ("restore_status", ["restore_status"]),
        ("lose_status_amid_failover", ["failovers"]),
        ("cut_primary_from_regions", ["failovers"]),
        ("cut_one_way", ["cut_one_way"]),
        ("forget_regions", ["forgotten", "failovers"]),
        ("forget_too_early", ["forget_too_early"]),
        ("change_voters_amid_cut", ["failovers", "regions_made"]),
        ("end_primary", ["failovers"]),
        ("freeze_target", ["aborted", "failovers", "freeze_target"]),
        ("sync_fails", ["failed_syncs"]),
        ("write_back_fails", ["failed_syncs"]),
        ("rolled_back_volume", ["rolled_back", "recognised"]),
        ("rolled_back_region", ["formed_anew", "regions_made"]),
        ("rolled_back_at_once", ["failovers", "at_once"]),
        ("api_times_out", ["switchovers"]),
    ],
)
def test_a_fault_between_regions_happens_and_leaves_no_violation(fault: str, seen: list[str]) -> None:
    missing = set(seen)
    with only_faults((fault,)):
        for seed in SEEDS:
            report = run_seed(seed, "regions")
            assert report.violation is None, "\n" + report.text()
            missing -= {note for note in seen if report.notes.get(note, 0)}
            if not missing:
                return
    raise AssertionError(f"never seen: {missing}")


@pytest.mark.timeout(600)
def test_regions_that_do_not_reach_each_other_are_not_made_primary_in_turn() -> None:
    """Each cut may bring about one failover, and one back; for as long as it lasts, no more."""
    with only_faults(("cut_mesh",)):
        for seed in range(4):
            report = run_seed(seed, "regions")
            assert report.violation is None, "\n" + report.text()
            assert report.notes["epochs"] <= 1 + 2 * report.notes["cut_mesh"], "\n" + report.text()
