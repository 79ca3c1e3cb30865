"""What this replica is to do, from its region's replicated state and its Raft group's status."""

from __future__ import annotations

from collections.abc import Mapping

from rstore_replica.raft.types import GroupStatus, Role
from rstore_replica.replication.ports import RegionStateView


def is_leader(status: GroupStatus) -> bool:
    """Returns whether this replica believes to lead its region."""
    return status.role is Role.LEADER


def leader_address(status: GroupStatus) -> str:
    """Returns the leader's peer address, "" when there is no leader or it is not a known member."""
    for member in status.members:
        if member.name == status.leader:
            return member.address
    return ""


def is_source(state: RegionStateView, region: str) -> bool:
    """Returns whether the region streams its log to the others.

    It does while it is primary of its epoch and no newer topology names another region. A demoted region is still a
    source: it has promised a higher epoch and accepts no writes, but the region that is to follow must catch up.
    """
    if not state.store_id or not state.primary or state.topology is None:
        return False
    return state.topology.epoch <= state.epoch or state.topology.primary_region == region


def stream_targets(state: RegionStateView, status: GroupStatus, region: str) -> Mapping[str, tuple[str, ...]]:
    """Peer addresses by region of every stream this replica is to keep open; empty when it is not to stream."""
    if not is_leader(status) or not is_source(state, region) or state.topology is None:
        return {}
    return {
        other.name: tuple(replica.peer_address for replica in other.replicas)
        for other in state.topology.regions
        if other.name != region and other.replicas
    }
