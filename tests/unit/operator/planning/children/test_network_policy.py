"""The network policy comes and goes with the spec."""

from __future__ import annotations

import copy

from unit.operator.world import SPEC, World

KEY = ("NetworkPolicy", "orders")


def test_the_policy_is_deleted_when_the_spec_wants_none_and_made_again() -> None:
    world = World(copy.deepcopy(SPEC))
    for _ in range(6):
        world.step()
    assert KEY in world.children
    world.spec["security"] = {"networkPolicy": {"enabled": False}}
    for _ in range(3):
        world.step()
    assert KEY not in world.children
    del world.spec["security"]
    for _ in range(3):
        world.step()
    assert KEY in world.children
