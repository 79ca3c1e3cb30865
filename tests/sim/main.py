"""Runs any range of seeds on all cores: ``python -m sim.main 1000-1999``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable

from sim.scopes import SCOPES, run_seed
from sim.world import Report

SHOWN_IN_FULL = 3
PROGRESS_SECONDS = 10.0
CHUNK, CHUNKS_OF_A_PROCESS = 5, 8


def seeds_of(text: str) -> range:
    """``7`` or ``1000-1999``."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main(arguments: list[str]) -> int:
    """Prints progress and each violation; the exit code says whether there was one."""
    parser = argparse.ArgumentParser(prog="sim", description=__doc__)
    parser.add_argument("seeds", type=seeds_of, help="one seed, or first-last")
    parser.add_argument("--scope", choices=sorted(SCOPES), default="region")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(arguments)
    started, histories, operations = time.monotonic(), 0, 0
    violations: list[Report] = []
    notes: Counter[str] = Counter()
    reported = started
    for report in _reports(options.seeds, options.scope, options.jobs):
        histories += 1
        notes.update(report.notes)
        operations += report.notes.get("operations", 0)
        if report.violation is not None:
            violations.append(report)
            text = report.text() if len(violations) <= SHOWN_IN_FULL else f"seed {report.seed}: {report.violation}"
            print(text, flush=True)
        if time.monotonic() - reported > PROGRESS_SECONDS:
            reported = time.monotonic()
            rate = histories / (reported - started)
            print(
                f"{histories} of {len(options.seeds)} histories, {rate:.1f}/s, {len(violations)} violations", flush=True
            )
    seconds = time.monotonic() - started
    print(f"{seconds:.0f} s, {histories / seconds:.1f} histories/s; " + ", ".join(f"{k} {v}" for k, v in notes.items()))
    if violations:
        print("seeds with violations: " + " ".join(str(report.seed) for report in violations))
    print(f"sim: {histories} histories, {len(violations)} violations")
    return 1 if violations else 0


def _run(task: tuple[int, str]) -> Report:
    return run_seed(*task)


def _reports(seeds: range, scope: str, jobs: int) -> Iterable[Report]:
    tasks = [(seed, scope) for seed in seeds]
    if jobs == 1 or len(tasks) == 1:
        yield from map(_run, tasks)
        return
    # Fresh processes, each used for some runs: each run leaves a few MiB, and later ones get slower.
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=CHUNKS_OF_A_PROCESS) as pool:
        yield from pool.imap_unordered(_run, tasks, chunksize=CHUNK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
