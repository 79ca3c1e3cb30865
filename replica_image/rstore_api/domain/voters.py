"""The voters that grant a store's tenure: replicas and operator must never differ about them."""

from __future__ import annotations

from collections.abc import Collection

WITNESS = "\0witness"
"""The operator as a voter; no region can have this name."""


def voters(regions: Collection[str]) -> frozenset[str]:
    """Every region, and the operator as witness where their number is even.

    Nobody for one region: it needs no tenure.
    """
    if len(regions) < 2:
        return frozenset()
    return frozenset(regions) | (frozenset({WITNESS}) if len(regions) % 2 == 0 else frozenset())


def majority(count: int) -> int:
    """Returns how many of ``count`` voters decide."""
    return count // 2 + 1
