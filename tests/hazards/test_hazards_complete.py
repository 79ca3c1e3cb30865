"""Every hazard has a test that shows it on stock PySyncObj and one that shows that it is closed."""

from __future__ import annotations

import re
from pathlib import Path

HAZARDS = 16


def test_every_hazard_is_shown_on_stock_pysyncobj_and_closed_in_ours() -> None:
    shown: dict[str, set[int]] = {"stock": set(), "ours": set()}
    for path in Path(__file__).parent.glob("test_hazard_*.py"):
        for number, whose in re.findall(r"^(?:async )?def test_hazard_(\d\d)_(stock|ours)_", path.read_text(), re.M):
            assert path.name.startswith(f"test_hazard_{number}_")
            shown[whose].add(int(number))
    assert shown == {"stock": set(range(1, HAZARDS + 1)), "ours": set(range(1, HAZARDS + 1))}
