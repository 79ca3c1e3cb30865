"""The operator as witness of the tenure: what it grants, and what it persists before."""

from __future__ import annotations

from collections.abc import Collection

from rstore_operator.facts.actions import GrantTenure, Target
from rstore_operator.facts.observed import ReplicaStatus
from rstore_operator.facts.truth import Truth
from rstore_operator.facts.witness_tenure import asked_tenure_ms, next_witness_tenure
from rstore_operator.failover.scene import Scene
from rstore_operator.resource.state import FailoverIntent, StoreStatus, WitnessTenure


def grants(scene: Scene, intent: FailoverIntent | None, target: Target | None, store_id: str) -> list[GrantTenure]:
    """The grant, where the primary's leader asks for one, nothing higher is promised, and nothing may still run that
    was granted, to another primary perhaps, before the status was lost.

    The promise is read again when this is carried out: after the round was offered, and before it is granted.
    """
    leader = scene.observed.leader(scene.truth.primary_region) if scene.truth.primary_region else None
    if leader is None or leader.tenure is None or target is None or not scene.voters.witness:
        return []
    if not leader.tenure.witness_round or not leader.primary or leader.epoch < scene.truth.promised_epoch:
        return []
    if intent is not None and intent.epoch > leader.epoch:
        return []
    if scene.witness_has_forgotten:
        return []
    offer = leader.tenure
    return [GrantTenure(leader.region, target, store_id, leader.epoch, offer.witness_round, offer.duration_ms)]


def promises_lost(scene: Scene) -> bool:
    """The next ``StoreStatus.promises_lost``."""
    return scene.voters.witness and scene.witness_has_forgotten


def witness_tenure(scene: Scene) -> WitnessTenure:
    """The next ``StoreStatus.witness_tenure``."""
    leader = scene.observed.leader(scene.truth.primary_region) if scene.truth.primary_region else None
    seen_seconds = scene.clock.seconds - scene.memory.witness_tenure_seen_at[1]
    asked_ms = asked_tenure_ms(leader, witness=scene.voters.witness)
    return next_witness_tenure(scene.status.witness_tenure, asked_ms, seen_seconds)


def reported_to_witness(
    leader: ReplicaStatus | None, regions: Collection[str], truth: Truth, before: StoreStatus
) -> tuple[int, int]:
    """Return the next ``StoreStatus.in_sync_regions`` and ``in_sync_round``, which are persisted before the round that
    reports them is granted.

    The round is that of the last change, so that another operator, which looked earlier, does not take it back. What
    the leader reports counts for nothing as long as it uses other ``regions`` than the store's.
    """
    recorded = (before.in_sync_regions, before.in_sync_round) if before.epoch == truth.epoch else (0, 0)
    if leader is None or leader.tenure is None or not leader.primary or leader.epoch != truth.epoch:
        return recorded
    same = leader.topology is not None and {region.name for region in leader.topology.regions} == set(regions)
    regions_in_sync, offered = leader.tenure.in_sync_regions if same else 0, leader.tenure.witness_round
    if offered and (offered < recorded[1] or (regions_in_sync == recorded[0] and recorded[1])):
        return recorded
    return regions_in_sync, offered
