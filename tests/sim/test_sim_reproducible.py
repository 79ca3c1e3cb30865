"""A seed is a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PROGRAM = """
from sim.scopes import run_seed
for seed in (1, 5, 8, 12):
    report = run_seed(seed)
    print(seed, report.violation, report.events, report.digest)
"""


def runs(hash_seed: str) -> str:
    """The same in a process of its own, in which sets have another order."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def test_a_seed_runs_the_same_in_every_process() -> None:
    first = runs("1")
    assert len({line.split()[-1] for line in first.splitlines()}) == 4
    assert runs("2") == first
