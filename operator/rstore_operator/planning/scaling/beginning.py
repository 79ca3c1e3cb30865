"""Whether a region has no Raft group and never had one, so that it may begin with other members than it was made for.

A group begins when each of its first replicas has seen all others without a past. So there is none where every replica
that runs answers that it belongs to no group, and one has never run. Before the store is created nothing was
acknowledged in any region, but for volumes of an earlier life of the store: those are older than the store.
"""

from __future__ import annotations

from collections.abc import Iterable

from rstore_api.domain import names

from rstore_operator.facts.observed import Observed, ReplicaStatus


def has_not_begun(store: str, region: str, replicas: int, observed: Observed, created_at: str) -> bool:
    """Return whether the region, which was to begin with so many replicas, has no group. The store is not created;
    ``created_at`` is when its object was made, "" where that is not known."""
    seen = observed.region(region)
    pods = {*names.pod_names(store, region, replicas), *(pod.name for pod in seen.pods)}
    outside = {replica.name for replica in seen.replicas if is_outside(replica)}
    waiting = {name for name in pods - outside if _never_ran(name, region, observed, created_at)}
    return bool(waiting) and pods == outside | waiting


def is_outside(replica: ReplicaStatus) -> bool:
    """Return whether a replica belongs to no group and its volume has nothing of an earlier one."""
    return replica.joining and not (replica.is_leader or replica.store_id or replica.epoch or replica.promised_epoch)


def waits_for_others(replica: ReplicaStatus, pods: Iterable[str]) -> bool:
    """Return whether a replica would begin a group with others than these pods alone."""
    return is_outside(replica) and set(replica.members) != set(pods)


def _never_ran(name: str, region: str, observed: Observed, created_at: str) -> bool:
    """Whether a pod has no node, and a volume that is empty: there is none, or it was made for this store."""
    pod, claim = observed.region(region).pod(name), observed.claims.get(names.claim_of(name))
    if pod is not None and pod.node:
        return False
    if claim is None or not claim.bound:
        return True
    return bool(created_at) and claim.created_at >= created_at
