"""Regions that should follow the primary and get nothing from it: since when, and what is reported of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rstore_operator.facts.actions import Notice
from rstore_operator.facts.memory import Memory
from rstore_operator.resource.state import RegionStatus, StoreStatus

NOT_CONNECTED = "RegionNotConnected"
"""Reason of the condition Degraded."""
PATIENCE_SECONDS = 5.0
"""A stream that is down for less than this is being made anew, which is no news."""
_FOLLOWING = ("Creating", "Ready", "Degraded", "CatchingUp")
"""Phases of regions that should be connected; one that is lost is reported as lost."""


def not_connected(regions: Sequence[RegionStatus], memory: Memory, before: StoreStatus) -> tuple[str, ...]:
    """What to report of each region that should be connected and is not, for long enough.

    Once reported it stands until the region is connected, so that an operator that comes anew does not take it back.
    """
    return tuple(
        _text(region.name)
        for region in regions
        if region.role == "Secondary" and region.phase in _FOLLOWING and not region.connected
        if _reported(region.name, before) or memory.without_stream_seconds.get(region.name, 0.0) >= PATIENCE_SECONDS
    )


def connection_notices(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    """When a region is first reported as not connected, and when it is connected again."""
    for region in after.regions:
        was, is_now = _reported(region.name, before), _reported(region.name, after)
        if is_now and not was:
            why = f": {region.message}" if region.message else ""
            yield Notice(NOT_CONNECTED, _text(region.name) + why, warning=True)
        elif was and not is_now and region.connected:
            yield Notice("RegionConnected", f"{region.name}: the primary region's changes arrive again")


def _text(region: str) -> str:
    return f"{region}: no stream from the primary region"


def _reported(region: str, status: StoreStatus) -> bool:
    condition = status.condition("Degraded")
    return condition is not None and condition.status == "True" and _text(region) in condition.message.split("; ")
