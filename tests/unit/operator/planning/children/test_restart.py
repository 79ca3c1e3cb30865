"""A restart that is asked for on the store reaches the pod templates of all regions, once."""

from __future__ import annotations

import pytest
from rstore_api.domain.kubernetes import RESTARTED_AT
from rstore_operator.planning.children.objects import later_restart
from unit.operator.world import World

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


def test_the_annotation_of_the_store_reaches_every_region() -> None:
    world = World()
    for _ in range(6):
        world.step()
    world.annotations[RESTARTED_AT] = LATE
    for _ in range(6):
        world.step()
    sets = [child for (kind, _), child in world.children.items() if kind == "StatefulSet"]
    assert len(sets) == 3
    for child in sets:
        assert child["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] == LATE
    assert world.annotations[RESTARTED_AT] == LATE
