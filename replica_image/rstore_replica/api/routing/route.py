"""Where a write or a linearizable read is served: here, by another replica, or nowhere at the moment.

Within the primary region a follower hands on to its leader, as in etcd. A secondary region hands on to the primary
region when forwarding is on. A request that was handed on once is never handed on again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rstore_api.domain.topology import ReplicaAddress
from rstore_api.errors import NoLeader, NoPrimary, NotBootstrapped, NotLeader, NotPrimary, StoreError

from rstore_replica.raft.types import GroupStatus, Role
from rstore_replica.replication.ports import RegionStateView


@dataclass(frozen=True)
class Local:
    """This replica serves it."""


@dataclass(frozen=True)
class ForwardTo:
    """The leader of ``region`` serves it: one of ``replicas``, of which the first is the likeliest."""

    region: str
    replicas: tuple[ReplicaAddress, ...]

    def client_address_of(self, peer_address: str) -> str | None:
        """Returns the client address of the replica with that peer address, which a NotLeader's hint gives."""
        return next((item.client_address for item in self.replicas if item.peer_address == peer_address), None)


@dataclass(frozen=True)
class Refuse:
    """Nobody serves it now; ``error`` says why."""

    error: StoreError


Decision = Local | ForwardTo | Refuse


def is_served_here(state: RegionStateView, role: Role) -> bool:
    """Returns whether this replica is the primary's leader, as far as it knows: what nearly every request finds."""
    return (
        role is Role.LEADER and state.primary and state.writable and bool(state.store_id) and state.topology is not None
    )


def decide(
    state: RegionStateView,
    status: GroupStatus,
    *,
    region: str,
    own_replicas: Mapping[str, ReplicaAddress],
    forward: bool,
    forwarded: bool,
) -> Decision:
    """Returns where a request that needs the primary's leader goes.

    ``own_replicas`` are this region's by name; ``forward`` is the setting; ``forwarded`` says that the request was
    handed on by another replica already.
    """
    if is_served_here(state, status.role):
        return Local()
    if not state.store_id or state.topology is None:
        return Refuse(NotBootstrapped(f"region {region}"))
    if state.primary and state.writable:
        return _in_own_region(status, region=region, own_replicas=own_replicas, forwarded=forwarded)
    primary = primary_region(state)
    if primary == region:
        # Demoted with no successor known here yet, or promoted and this replica has not applied it yet.
        if status.role is Role.LEADER or forwarded or status.leader is None:
            return Refuse(NoPrimary("a change of primary is under way"))
        return _in_own_region(status, region=region, own_replicas=own_replicas, forwarded=forwarded)
    replicas = _replicas_of(state, primary)
    if forwarded or not forward:
        where = replicas[0].client_address if replicas else "unknown"
        hint = replicas[0].peer_address if replicas else ""
        return Refuse(NotPrimary(f"the primary is {primary} ({where})", leader=hint))
    if not replicas:
        return Refuse(NoPrimary(f"no address of the primary region {primary} is known"))
    return ForwardTo(primary, replicas)


def primary_region(state: RegionStateView) -> str:
    """Returns the primary region as far as it is known here: by the topology, or by the history when rows of a later
    epoch came first.
    """
    newest = state.history[-1] if state.history else None
    if state.topology is None or (newest is not None and newest.epoch > state.topology.epoch):
        return newest.region if newest is not None else ""
    return state.topology.primary_region


def _in_own_region(
    status: GroupStatus, *, region: str, own_replicas: Mapping[str, ReplicaAddress], forwarded: bool
) -> Decision:
    leader = own_replicas.get(status.leader or "")
    if leader is None or leader.name == status.name:
        return Refuse(NoLeader(f"region {region}"))
    if forwarded:
        return Refuse(NotLeader(f"the leader is {leader.name}", leader=leader.peer_address))
    return ForwardTo(region, (leader,))


def _replicas_of(state: RegionStateView, region: str) -> tuple[ReplicaAddress, ...]:
    regions = () if state.topology is None else state.topology.regions
    return next((entry.replicas for entry in regions if entry.name == region), ())
