"""A seed is a run, also of several regions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
SEEDS = (1, 2, 12)
PROGRAM = f"""
from sim.scopes import run_seed
for seed in {SEEDS}:
    report = run_seed(seed, "regions")
    print(seed, report.violation, report.events, report.digest)
"""


def runs(hash_seed: str) -> str:
    """The same in a process of its own, in which sets have another order."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=160, check=True)
    return done.stdout


def test_a_seed_of_several_regions_runs_the_same_in_every_process() -> None:
    first = runs("1")
    assert len({line.split()[-1] for line in first.splitlines()}) == len(SEEDS)
    assert runs("2") == first
