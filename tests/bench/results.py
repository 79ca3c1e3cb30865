"""What the benchmarks found: lines for people, and ``build/bench.json``, which each benchmark updates with its own."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

TESTS = Path(__file__).resolve().parent.parent
BUILD = TESTS.parent / "build"
FILE = BUILD / "bench.json"


@dataclass(frozen=True)
class Row:
    """One line of the result; a ``ratio`` above 1 means that ours is better. Without a ``peer_name`` there is none."""

    name: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    unit: str


def wanted(name: str) -> bool:
    """Whether ``BENCH_ONLY`` lets this be measured."""
    return os.environ.get("BENCH_ONLY", "") in name


def row(name: str, unit: str, ours: list[float], peer_name: str, peer: list[float], *, less_is_better: bool) -> Row:
    """The line for one kind of load and one peer, whose figures are those of the same rounds."""
    ratios = [(b / a if less_is_better else a / b) if a and b else 0.0 for a, b in zip(ours, peer, strict=True)]
    return Row(name, round(median(ours), 3), round(median(peer), 3), peer_name, round(median(ratios), 3), unit)


def head(ours: str = "ours") -> None:
    """Print the columns' names."""
    print(f"{'':44} {ours:>10} {'peer':>10} {'':11} {'peer':11} {'ratio':>6}", flush=True)


def show(line: Row) -> None:
    """Print one line."""
    peer, ratio = (f"{line.peer:.2f}", f"{line.ratio:.2f}") if line.peer_name else ("", "")
    print(
        f"{line.name:44} {line.ours:10.2f} {peer:>10} {line.unit:11} {line.peer_name:11} {ratio:>6}".rstrip(),
        flush=True,
    )


def save(rows: Sequence[Row]) -> None:
    """Put these lines into the file, in the place of those of the same name and peer."""
    found = [Row(**item) for item in json.loads(FILE.read_text())] if FILE.exists() else []
    fresh = {(line.name, line.peer_name, line.unit): line for line in rows}
    kept = [fresh.pop((line.name, line.peer_name, line.unit), line) for line in found]
    BUILD.mkdir(exist_ok=True)
    FILE.write_text(json.dumps([asdict(line) for line in (*kept, *fresh.values())], indent=1) + "\n")
