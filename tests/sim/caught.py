"""What the simulator finds of a mistake, in a process of its own: by damaged data LMDB may end it."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from sim import mutations
from sim.archive import mutations as mutations_of_archives
from sim.regions import mutations as mutations_of_regions
from sim.scopes import run_seed

MUTATED = {
    "region": mutations.mutated,
    "regions": mutations_of_regions.mutated,
    "archive": mutations_of_archives.mutated,
}
ENDED = "the process ended by what it read"


def first_violation(scope: str, name: str, seeds: int) -> str:
    """Returns what the first of the seeds that notices the mutation says, ENDED where the process did not outlive it;
    "" when none notices it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_first_violation, scope, name, seeds).result()
        except BrokenProcessPool:
            return ENDED


def _first_violation(scope: str, name: str, seeds: int) -> str:
    with MUTATED[scope](name):
        return next(filter(None, (run_seed(seed, scope).violation for seed in range(seeds))), "")
