"""A machine's clock may jump: what decides about tenures and failovers must not look at it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
REPLICA = REPOSITORY / "replica_image" / "rstore_replica"
OPERATOR = REPOSITORY / "operator" / "rstore_operator"
WALL = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
ALLOWED = {"reconcile.py", "elector.py", "expiry_clock.py", "unclaimed_bases.py"}
"""They hand the time of day to what records it, in `.status` and in the Lease; how long something lasts is measured
otherwise. Tokens of etcd's users expire by it, and how old an object is that no store's loop looks after is known by it
alone."""


def wall_clock_reads(source: str) -> list[int]:
    """Lines that ask for the time of day."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if (owner, node.attr) in WALL:
                found.append(node.lineno)
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [node.lineno for name in node.names if name.name in ("time", "time_ns")]
    return found


def test_the_search_finds_what_it_is_for():
    assert wall_clock_reads("import time\nx = time.time()") == [2]
    assert wall_clock_reads("from time import time") == [1]
    assert wall_clock_reads("import datetime\nx = datetime.datetime.now()") == [2]
    assert wall_clock_reads("import time\nx = time.monotonic()") == []


@pytest.mark.parametrize("package", [REPLICA, OPERATOR], ids=lambda path: path.name)
def test_nobody_asks_for_the_time_of_day(package: Path):
    reads = {
        str(path.relative_to(package)): lines
        for path in package.rglob("*.py")
        if path.name not in ALLOWED and (lines := wall_clock_reads(path.read_text()))
    }
    assert reads == {}
