"""A primary that accepts writes and acknowledges none: it holds no tenure. Since when, and what is reported of it."""

from __future__ import annotations

from collections.abc import Collection

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, ReplicaStatus
from rstore_operator.facts.truth import Truth
from rstore_operator.resource.state import StoreStatus

PATIENCE_SECONDS = 2.0
"""A leader that has just begun to lead holds no tenure until its first questions are answered, which is no news."""
NO_TENURE = "NoTenure"
"""Reason of the condition Ready."""


def is_stuck(region: str, memory: Memory) -> bool:
    """Whether the region's leader has been without the tenure for longer than a new one may be."""
    return memory.without_tenure_seconds.get(region, 0.0) >= PATIENCE_SECONDS


def streams_to(leader: ReplicaStatus | None, region: str) -> bool:
    """Whether that leader sends what it holds to the region."""
    return leader is not None and any(item.region == region and item.connected for item in leader.progress)


def no_tenure_message(
    observed: Observed, memory: Memory, truth: Truth, before: StoreStatus, voters: Collection[str]
) -> str:
    """What to report, and what helps, while the primary acknowledges nothing; "" when it does, or has just begun.

    Once reported it stands until the tenure is held, so that an operator that comes anew does not take it back.
    """
    primary = truth.primary_region
    leader = observed.leader(primary)
    if leader is None or leader.tenure is None or not leader.lacks_tenure:
        return ""
    ready = before.condition("Ready")
    reported = ready is not None and ready.reason == NO_TENURE and before.epoch == truth.epoch
    if not reported and not is_stuck(primary, memory):
        return ""
    tenure_seconds = leader.tenure.duration_ms / 1000
    silent = []
    for name in sorted(set(voters) - {primary}):
        voter = observed.leader(name)
        granted = voter.granted if voter is not None else None
        if granted is None or granted.epoch != leader.epoch or granted.age_ms > leader.tenure.duration_ms:
            silent.append(name)
    if leader.tenure.missing_revision:
        why = f"it has lost revision {leader.tenure.missing_revision}, which another region holds"
    elif silent:
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
