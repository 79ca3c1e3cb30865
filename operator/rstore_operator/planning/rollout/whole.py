"""What must be whole before a pod may go: no pod of the store is away, every region follows, and none is behind."""

from __future__ import annotations

from collections.abc import Iterable

from rstore_operator.facts.observed import Observed, ReplicaStatus
from rstore_operator.planning.rollout.revisions import RegionPods

LAG_SECONDS = 5.0
"""A region that is behind the primary by less than this is in sync, as in the condition InSync."""
MAX_ENTRIES_BEHIND = 1000
"""A replica with fewer entries of its region's log to apply is up to date."""


def why_not_whole(
    regions: Iterable[RegionPods], observed: Observed, primary: str, epoch: int, *, without: str = ""
) -> str:
    """Return what has to be waited for, for people; "" when another pod may go. The pod ``without`` counts for
    nothing."""
    regions = tuple(regions)
    source = observed.leader(primary)
    whys = (_pods(region, without) for region in regions)
    why = next((text for text in whys if text), "")
    if why or source is None:
        return why or f"{primary} to have a leader"
    if not source.writable or source.lacks_tenure:
        return f"{primary} to acknowledge writes"
    if source.sync is not None and (source.sync.degraded or not source.sync.in_sync):
        return "writes to be confirmed by as many regions as SemiSync demands"
    return next((text for region in regions if (text := _follows(region, source, epoch))), "")


def _pods(region: RegionPods, without: str) -> str:
    """What is missing inside the region."""
    if not region.revision:
        return f"the StatefulSet of {region.name}, whose change is not seen yet"
    if region.missing:
        return f"{', '.join(region.missing)} to be created"
    pods = [pod for pod in region.seen.pods if pod.name != without]
    terminating = [pod.name for pod in pods if pod.terminating]
    if terminating:
        return f"the end of {', '.join(terminating)}"
    unready = [pod.name for pod in pods if not pod.ready]
    if unready:
        return f"{', '.join(unready)} to be ready"
    leader = region.seen.leader
    if leader is None or not leader.store_id:
        return f"{region.name} to have a leader"
    if leader.learners:
        return f"{', '.join(leader.learners)} to catch up"
    outside = [pod.name for pod in pods if pod.name not in region.voters]
    if outside:
        return f"{', '.join(outside)} to be taken into the Raft group of {region.name}"
    answers = {replica.name: replica for replica in region.seen.replicas}
    late = [name for name in sorted(region.voters - {without}) if not _is_up_to_date(answers.get(name), leader)]
    return f"{', '.join(late)} to answer that it is ready" if late else ""


def _is_up_to_date(replica: ReplicaStatus | None, leader: ReplicaStatus) -> bool:
    return replica is not None and replica.ready and leader.commit_index - replica.applied_index <= MAX_ENTRIES_BEHIND


def _follows(region: RegionPods, source: ReplicaStatus, epoch: int) -> str:
    """What is missing between the primary and the region: the stream, and the grant that the next one's going needs."""
    leader = region.seen.leader
    if leader is None or region.name == source.region:
        return ""
    progress = next((item for item in source.progress if item.region == region.name), None)
    if progress is None or not progress.connected:
        return f"{region.name} to be connected"
    if leader.staged is not None or progress.lag_seconds >= LAG_SECONDS:
        return f"{region.name} to be in sync"
    tenure, granted = source.tenure, leader.granted
    late = granted is not None and tenure is not None and granted.age_ms >= tenure.duration_ms
    if granted is not None and tenure is not None and (late or granted.epoch != epoch):
        return f"{region.name} to renew the primary's tenure"
    return ""
