"""A primary that accepts writes and acknowledges none: it holds no tenure. Since when, and what is said of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rstore_operator.facts.observed import Observed, ReplicaStatus
from rstore_operator.facts.truth import Truth
from rstore_operator.resource.state import StoreStatus

PATIENCE_SECONDS = 2.0
"""A leader that has just begun to lead holds no tenure until its first questions are answered, which is no news."""
NO_TENURE = "NoTenure"
"""Reason of the condition Ready."""

Spell = tuple[tuple[str, int, int], float]
"""A leadership (replica, term, epoch), and when it was first seen without the tenure."""


def lacks_tenure(leader: ReplicaStatus | None) -> bool:
    """Whether this leader of a primary region could acknowledge nothing when it answered."""
    return leader is not None and leader.writable and leader.tenure is not None and not leader.tenure.held


def spells(before: Mapping[str, Spell], observed: Observed, now_seconds: float) -> dict[str, Spell]:
    """By region, the leader that lacks the tenure, and since when this process has seen it so."""
    found = {}
    for name, region in observed.regions.items():
        leader = region.leader
        if leader is not None and lacks_tenure(leader):
            leadership = (leader.name, leader.term, leader.epoch)
            known = before.get(name)
            found[name] = known if known is not None and known[0] == leadership else (leadership, now_seconds)
    return found


def is_stuck(region: str, observed: Observed) -> bool:
    """Whether the region's leader has been without the tenure for longer than a new one may be."""
    return observed.without_tenure_seconds.get(region, 0.0) >= PATIENCE_SECONDS


def streams_to(leader: ReplicaStatus | None, region: str) -> bool:
    """Whether that leader sends what it holds to the region."""
    return leader is not None and any(item.region == region and item.connected for item in leader.progress)


def no_tenure_message(observed: Observed, truth: Truth, before: StoreStatus, voters: Collection[str]) -> str:
    """What to tell, and do, while the primary acknowledges nothing; "" when it does, or has just begun.

    Once told it stands until the tenure is held, so that an operator that comes anew does not take it back.
    """
    primary = truth.primary_region
    leader = observed.leader(primary)
    if leader is None or leader.tenure is None or not lacks_tenure(leader):
        return ""
    known = before.condition("Ready")
    told = known is not None and known.reason == NO_TENURE and before.epoch == truth.epoch
    if not told and not is_stuck(primary, observed):
        return ""
    tenure_seconds = leader.tenure.duration_ms / 1000
    silent = []
    for name in sorted(set(voters) - {primary}):
        voter = observed.leader(name)
        granted = voter.granted if voter is not None else None
        if granted is None or granted.epoch != leader.epoch or granted.age_ms > leader.tenure.duration_ms:
            silent.append(name)
    if silent:
        why = f"{', '.join(silent)} did not renew it; bring back those regions, or the network between the regions"
    else:
        why = (
            f"it is renewed too late; spec.failover.leaseDuration ({tenure_seconds:g} s) must be more than three times "
            "the longest round trip between regions"
        )
    return (
        f"{primary} accepts writes and acknowledges none, since it holds no tenure: {why}; or move the primary by "
        "failover-to with failover-mode: forced"
    )
