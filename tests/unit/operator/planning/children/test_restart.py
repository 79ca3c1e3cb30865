"""Which of two restarts that were asked for counts."""

from __future__ import annotations

import pytest
from rstore_operator.planning.children.templates import later_restart

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("done", "asked", "expected"),
    [
        ("", "", ""),
        ("", EARLY, EARLY),
        (EARLY, "", EARLY),
        (EARLY, LATE, LATE),
        (LATE, EARLY, LATE),
        ("2026-01-01T01:00:00+02:00", EARLY, EARLY),
        (EARLY, "soon", EARLY),
        ("soon", EARLY, EARLY),
    ],
)
def test_the_later_of_two_restarts_counts(done: str, asked: str, expected: str) -> None:
    assert later_restart(done, asked) == expected
