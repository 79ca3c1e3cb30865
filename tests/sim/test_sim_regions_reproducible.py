"""A seed is a run, also of several regions and of their archives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PROGRAM = """
import sys
from sim.scopes import run_seed
scope, *seeds = sys.argv[1:]
for seed in seeds:
    report = run_seed(int(seed), scope)
    print(seed, report.violation, report.events, report.digest)
"""


def runs(hash_seed: str, scope: str, seeds: tuple[str, ...]) -> str:
    """The same in a process of its own, in which sets have another order."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, scope, *seeds]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=160, check=True)
    return done.stdout


@pytest.mark.parametrize(("scope", "seeds"), [("regions", ("1", "2", "12")), ("archive", ("1", "10"))])
def test_a_seed_of_several_regions_runs_the_same_in_every_process(scope: str, seeds: tuple[str, ...]) -> None:
    first = runs("1", scope, seeds)
    assert len({line.split()[-1] for line in first.splitlines()}) == len(seeds)
    assert runs("2", scope, seeds) == first
