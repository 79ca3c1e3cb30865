"""A range of histories as a test runs them."""

from __future__ import annotations

from sim.scopes import run_seed


def no_violation(first: int, count: int) -> None:
    """Runs the seeds from ``first`` on; the first violation fails, with all that helps to find the cause."""
    operations = 0
    for seed in range(first, first + count):
        report = run_seed(seed, "regions")
        assert report.violation is None, "\n" + report.text()
        operations += report.notes["done"]
    assert operations > 30 * count, "clients hardly got anything done, so this says nothing"
