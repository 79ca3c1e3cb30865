"""docs/limits.md names each bound of a port, with the value that is used."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from rstore_wire.frames import Work
from rstore_wire.limits import Limits

TABLE = {
    cells[1].strip().strip("`"): cells[2]
    for line in (Path(__file__).parents[3] / "docs" / "limits.md").read_text().splitlines()
    if line.startswith("| `") and len(cells := line.split("|")) > 3
}
MIB = 1 << 20


def written(value: float) -> str:
    return f"{int(value) // MIB} MiB" if value >= MIB else f"{int(value):,}"


@pytest.mark.parametrize("name", [field.name for field in fields(Limits) if field.name != "work_per_second"])
def test_each_bound_is_documented_with_its_value(name: str) -> None:
    value = getattr(Limits(), name)
    assert TABLE[name].strip().startswith("" if value is None else written(value))


def test_the_bounds_of_work_are_documented_with_their_values() -> None:
    per_second = Limits().work_per_second
    assert set(per_second) == set(Work)
    for value in per_second.values():
        assert f" {value:,} " in TABLE["work_per_second"]
