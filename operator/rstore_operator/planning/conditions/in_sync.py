"""Whether the other regions follow closely enough, and what the primary reports of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rstore_api.domain.topology import SyncRule

from rstore_operator.facts.actions import Notice
from rstore_operator.facts.observed import ReplicaStatus
from rstore_operator.resource.state import Condition, RegionStatus, StoreStatus

IN_SYNC_LAG_SECONDS = 5.0
SEMI_SYNC, TIMED_OUT, DEGRADED, NOT_IN_FORCE = "SemiSync", "SemiSyncTimeout", "SemiSyncDegraded", "RuleNotInForce"
"""Reasons of the condition InSync in SemiSync."""
UNCONFIRMED = (TIMED_OUT, DEGRADED)
"""The reasons that mean that writes are not in as many regions as they should be."""

Judgement = tuple[bool | None, str, str]
"""Status, reason and message of the condition InSync."""


def in_sync(
    regions: Sequence[RegionStatus],
    primary_region: str,
    rule: SyncRule | None,
    leader: ReplicaStatus | None,
    before: Condition | None,
) -> Judgement:
    """The condition InSync. ``leader`` is the primary's, None while it does not answer, ``before`` is the last
    condition.

    In SemiSync it is about acknowledgements, and as long as the primary cannot be asked the last condition stands.
    """
    if not primary_region:
        return None, "NotBootstrapped", "there is no primary region yet"
    staying = [region for region in regions if region.role == "Secondary" and region.phase != "Removing"]
    apart = [region.name for region in staying if not region.connected]
    if rule is not None:
        return _semi_sync(rule, leader, before, apart)
    late = [region.name for region in staying if region.connected and region.lag_seconds > IN_SYNC_LAG_SECONDS]
    if apart:
        return False, "NotConnected", f"no stream to {', '.join(apart)}"
    if late:
        return False, "RegionsBehind", f"more than {IN_SYNC_LAG_SECONDS:g} s: {', '.join(late)}"
    message = f"every region is less than {IN_SYNC_LAG_SECONDS:g} s behind" if staying else "there is one region only"
    return True, "AllRegions", message


def _semi_sync(
    rule: SyncRule, leader: ReplicaStatus | None, before: Condition | None, apart: Sequence[str]
) -> Judgement:
    wanted = f"{rule.min_in_sync_regions} other region{'s' if rule.min_in_sync_regions > 1 else ''}"
    if leader is None and before is not None and before.reason in (SEMI_SYNC, *UNCONFIRMED):
        return {"True": True, "False": False}.get(before.status), before.reason, before.message
    if leader is None or not leader.writable:
        return None, "NoPrimary", "no region accepts writes"
    sync = leader.sync
    if sync is None or sync.min_in_sync_regions != rule.min_in_sync_regions:
        return False, NOT_IN_FORCE, f"the primary does not yet know that it has to wait for {wanted}"
    late = f"{wanted} did not confirm within {rule.timeout_ms / 1000:g} s"
    if sync.degraded:
        return False, DEGRADED, f"{late}: writes are acknowledged without, until the regions have caught up"
    if not sync.in_sync:
        return False, TIMED_OUT, f"{late}: writes are answered with outcome unknown"
    message = f"every acknowledged write is in at least {wanted}"
    return True, SEMI_SYNC, message + (f"; no stream to {', '.join(apart)}" if apart else "")


def sync_notices(before: StoreStatus, after: StoreStatus) -> Iterator[Notice]:
    """When acknowledgements begin to fail or to do without other regions, and when that is over."""
    earlier, latest = before.condition("InSync"), after.condition("InSync")
    old, new = (condition.reason if condition is not None else "" for condition in (earlier, latest))
    if latest is None or old == new:
        return
    if new in UNCONFIRMED:
        yield Notice(new, latest.message, warning=True)
    elif new == SEMI_SYNC and old in UNCONFIRMED:
        yield Notice("InSyncAgain", latest.message)
