"""Whether a replica is ready: it has a leader and has caught up with it."""

from __future__ import annotations

from rstore_replica.raft.types import GroupStatus
from rstore_replica.replication.ports import RegionStateView

MAX_ENTRIES_BEHIND = 1000
"""A replica with more committed entries to apply has not caught up."""


def not_ready_reason(
    state: RegionStateView, status: GroupStatus, *, stopping: bool, receives_snapshot: bool = False
) -> str:
    """Returns why the replica is not ready, in words for people; "" when it is.

    A region that has data is ready with that until a snapshot takes its place; one that has none is not.
    """
    if stopping:
        return "the replica is stopping"
    if status.not_ready_reason:
        return status.not_ready_reason
    if status.leader is None:
        return "the region has no leader"
    behind = status.commit_index - status.applied_index
    if behind > MAX_ENTRIES_BEHIND:
        return f"{behind} committed entries are not applied yet"
    if not state.store_id:
        return "the region has not been bootstrapped"
    if receives_snapshot and not state.history:
        return "the region is receiving its first data"
    return ""
