"""Replays recorded cases and prints every difference, then the counts.

``PYTHONPATH=localcluster/tests python -m conformance [--brief] [BEGINNING ...]`` starts a local cluster and replays the
cases whose names begin so, or all. ``--brief`` prints the lines of the lists in ``remaining/`` instead."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from conformance.exchange import Connection
from conformance.remaining import left_out, remaining
from conformance.replay import Sort, replay
from conformance.running import running_cluster
from conformance.test_recordings import CASES, NODE, RECORDED


def main(arguments: list[str]) -> int:
    """0 if every case is answered as recorded."""
    brief = "--brief" in arguments
    beginnings = tuple(argument for argument in arguments if not argument.startswith("--")) or ("",)
    cases = [case for case in CASES if case.startswith(beginnings) and case not in left_out()]
    counts: Counter[Sort] = Counter()
    different_cases = unlisted = steps = 0
    with (
        tempfile.TemporaryDirectory(prefix="conformance-") as directory,
        running_cluster(Path(directory) / "cluster") as kubeconfig,
    ):
        connection = Connection(kubeconfig.read_text())
        for case in cases:
            recorded = json.loads((RECORDED / f"{case}.json").read_text(encoding="utf-8"))
            steps += len(recorded["steps"])
            different = replay(connection, recorded, NODE)
            counts.update(difference.sort for difference in different)
            different_cases += bool(different)
            listed = remaining(case)
            unlisted += sum(listed.get(difference.step) != difference.sort.value for difference in different)
            for difference in different:
                print(f"{case} {difference.step} {difference.sort.value}: " if brief else f"{case}\n{difference}")
    by_sort = ", ".join(f"{sort.value} {counts[sort]}" for sort in Sort)
    print(
        f"{len(cases)} cases, {steps} steps: {different_cases} cases and {counts.total()} steps differ ({by_sort}),"
        f" {unlisted} steps not listed; {len(left_out())} cases left out"
    )
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
