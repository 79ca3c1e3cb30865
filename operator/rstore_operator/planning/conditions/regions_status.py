"""What status shows of each region."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from msgspec import structs

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, Progress, RegionObserved, ReplicaStatus
from rstore_operator.facts.truth import Truth
from rstore_operator.planning.conditions.in_sync import IN_SYNC_LAG_SECONDS
from rstore_operator.planning.conditions.lacking_pods import Lacking
from rstore_operator.planning.scaling.effective import Effective
from rstore_operator.resource.state import RegionStatus, StoreStatus

LOST_AFTER_SECONDS = 5.0
"""A region without a leader for less than this is electing one, which is no news."""


def region_statuses(
    effective: Effective,
    observed: Observed,
    memory: Memory,
    truth: Truth,
    before: StoreStatus,
    now: datetime,
    lacking: Mapping[str, Lacking],
    restarting: Collection[str] = (),
) -> tuple[RegionStatus, ...]:
    """Every region of the store and those that are leaving it, in the order of the spec; ``lacking`` is by region,
    ``restarting`` are regions of which a roll is replacing a pod."""
    source = observed.leader(truth.primary_region) if truth.primary_region else None
    progress = {item.region: item for item in (source.progress if source else ())}
    sizes = {region.name: region.replicas for region in effective.spec.regions}
    sizes |= {region.name: len(region.replicas) for region in effective.retained}
    scaling = {name for name, _ in effective.scaling}
    statuses = []
    for name in (*effective.region_names, *sorted(effective.leaving)):
        shown = before.region(name) or RegionStatus(name)
        size = sizes.get(name, shown.replicas)
        since = memory.silent_since.get(name)
        electing = since is not None and (now - since).total_seconds() < LOST_AFTER_SECONDS
        status = region_status(
            observed.region(name),
            shown,
            size,
            progress.get(name),
            truth,
            electing,
            lacking.get(name),
            scaling=name in scaling,
        )
        if name in restarting and status.phase in ("Lost", "Degraded"):
            status = structs.replace(status, phase="RollingOut")
        if name in effective.leaving:
            status = RegionStatus(name, phase="Removing", replicas=size, message="removed from the spec")
        statuses.append(status)
    return tuple(statuses)


def region_status(
    region: RegionObserved,
    shown: RegionStatus,
    size: int,
    progress: Progress | None,
    truth: Truth,
    electing: bool,
    lacking: Lacking | None,
    *,
    scaling: bool = False,
) -> RegionStatus:
    """What is shown of one region. ``shown`` was shown last, ``size`` is how many replicas it should have, ``progress``
    is how far it is as the primary reports it, ``electing`` whether it has had no leader for a moment only, ``scaling``
    whether its replicas are being changed: one that is being added is not missing."""
    leader = region.leader
    is_primary = bool(truth.primary_region) and region.name == truth.primary_region
    role = "Primary" if is_primary else "Secondary" if truth.epoch else "Unknown"
    ready = region.ready_pods
    if leader is None:
        had_leader = shown.phase in ("Ready", "RollingOut", "Degraded", "CatchingUp", "Lost")
        phase = "Lost" if had_leader else "Creating" if region.pods else "Pending"
        if had_leader and electing and shown.phase != "Lost":
            phase = "Degraded"
        return RegionStatus(
            region.name,
            role=role,
            phase=phase,
            replicas=size,
            ready_replicas=ready,
            term=shown.term,
            commit_index=shown.commit_index,
            applied_index=shown.applied_index,
            revision=shown.revision,
            acked_revision=shown.acked_revision if role == "Secondary" else 0,
            message=lacking.text if lacking is not None else _why_silent(region),
            quarantine=shown.quarantine,
            quarantined=shown.quarantined,
        )
    lag = progress if progress is not None and not is_primary else None
    whole = ready >= size or (scaling and _members_are_ready(region, leader))
    new = shown.phase in ("Pending", "Creating")
    if not leader.store_id or (new and not whole):
        phase = "Creating"  # until every replica was ready once, one that is not yet is no loss
    elif leader.staged is not None:
        phase = "CatchingUp"
    elif role == "Secondary" and (new or shown.phase == "CatchingUp") and not _is_close(lag):
        phase = "Creating" if new else "CatchingUp"  # until it was in sync once
    else:
        phase = "Ready" if whole else "Degraded"
    message = "" if lag is None or lag.connected else lag.last_error
    if leader.staged is not None and not message:
        message = f"receives a snapshot of revision {leader.staged.revision}, {_about(leader.staged.rows)} rows so far"
    message = "; ".join(text for text in (leader.leaving, message) if text)
    return RegionStatus(
        region.name,
        role=role,
        phase=phase,
        replicas=size,
        ready_replicas=ready,
        leader=leader.name,
        term=leader.term,
        commit_index=leader.commit_index,
        applied_index=leader.applied_index,
        revision=leader.revision,
        acked_revision=lag.acked_revision if lag else 0,
        lag_revisions=lag.lag_revisions if lag else 0,
        lag_bytes=lag.lag_bytes if lag else 0,
        lag_seconds=round_lag(lag.lag_seconds) if lag else 0.0,
        connected=lag is not None and lag.connected,
        message=message,
        quarantine=leader.quarantine,
        quarantined=leader.tails,
    )


def _members_are_ready(region: RegionObserved, leader: ReplicaStatus) -> bool:
    """Whether every replica that counts in the region's group is ready."""
    ready = {pod.name for pod in region.pods if pod.ready and not pod.terminating}
    return bool(leader.members) and set(leader.members) - set(leader.learners) <= ready


def _is_close(lag: Progress | None) -> bool:
    return lag is not None and lag.connected and lag.lag_seconds <= IN_SYNC_LAG_SECONDS


def _why_silent(region: RegionObserved) -> str:
    if not region.pods:
        return "there are no pods"
    if not region.replicas:
        return "no replica answers"
    return "no replica leads"


def _about(count: int) -> str:
    """Two digits are enough, so that progress is not always news."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return f"{count // unit * unit:,}"


def round_lag(seconds: float) -> float:
    """Fewer digits the larger it is, so that small changes are no news."""
    if seconds < 0.001:
        return 0.0
    if seconds < 1:
        return round(seconds, 3)
    return round(seconds, 1) if seconds < 60 else float(round(seconds))
