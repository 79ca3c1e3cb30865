"""The benchmarks of this checkout: each is a module in ``tests/bench`` named ``bench_<what>.py`` with a ``main()``.

``python scripts/bench.py`` runs them all, ``python scripts/bench.py NAME`` one. Exits 1 when one fails or
there is none.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent.parent / "tests" / "bench"


def main(arguments: list[str]) -> int:
    """Runs the named benchmarks; 0 when they ran, 1 when one failed or there are none, 2 when a name is unknown."""
    benchmarks = {path.stem.removeprefix("bench_"): path for path in sorted(BENCHMARKS.glob("bench_*.py"))}
    if not benchmarks:
        print("bench: this version has no benchmarks; none has been run", file=sys.stderr)
        return 1
    unknown = [name for name in arguments if name not in benchmarks]
    if unknown:
        print(f"bench: no such benchmark: {', '.join(unknown)}; there are: {', '.join(benchmarks)}", file=sys.stderr)
        return 2
    for name in arguments or benchmarks:
        print(f"bench: {name}")
        done = subprocess.run(
            [sys.executable, "-m", f"bench.bench_{name}"], cwd=BENCHMARKS.parent, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
