"""From messages of the Admin service to the planner's values."""

from __future__ import annotations

from rstore_api.domain.limits import TAILS_SHOWN
from rstore_api.messages import history_of, topology_of
from rstore_api.proto import rstore_pb2 as pb

from rstore_operator.facts.observed import Granted, InForce, Progress, ReplicaStatus, Staged, SyncStatus, Tenure
from rstore_operator.resource.state import Quarantine, QuarantinedTail


def in_force(access: pb.AccessStatus) -> InForce:
    """Returns which access rules a replica enforces."""
    return InForce(access.version, access.digest, access.anonymous)


def leaving_text(leaving: pb.LeavingTail) -> str:
    """Returns what a region that leaves a diverged tail is doing, as a sentence for people."""
    if leaving.phase == "Undoing":
        return f"undoing its revisions above {leaving.fork_revision}; they are in quarantine"
    return (
        f"its revisions {leaving.fork_revision + 1} to {leaving.last_revision} go to quarantine"
        f" ({leaving.exported_rows} rows so far)"
    )


def replica_status(region: str, message: pb.StatusResponse) -> ReplicaStatus:
    """Returns the status in an answer; ``region`` is the one that the pod belongs to."""
    return ReplicaStatus(
        name=message.replica,
        region=region,
        store_id=message.store_id,
        is_leader=message.is_leader,
        leader=message.leader,
        term=message.term,
        revision=message.revision,
        epoch=message.epoch,
        promised_epoch=message.promised_epoch,
        primary=message.primary,
        writable=message.writable,
        commit_index=message.commit_index,
        applied_index=message.applied_index,
        compact_revision=message.compact_revision,
        history=history_of(message.history),
        topology=topology_of(message.topology) if message.HasField("topology") else None,
        progress=tuple(
            Progress(
                region=item.region,
                connected=item.connected,
                acked_revision=item.acked_revision,
                lag_revisions=item.lag_revisions,
                lag_bytes=item.lag_bytes,
                lag_seconds=item.lag_seconds,
                last_error=item.last_error,
            )
            for item in message.progress
        ),
        ready=message.ready,
        not_ready_reason=message.not_ready_reason,
        tenure=(
            Tenure(
                message.tenure.held,
                message.tenure.witness_round,
                message.tenure.duration_ms,
                message.tenure.in_sync_regions,
                message.tenure.longest_ms,
                message.tenure.granted_version if message.tenure.HasField("granted_version") else None,
                message.tenure.missing_revision,
                message.tenure.held_ms if message.tenure.HasField("held_ms") else None,
            )
            if message.HasField("tenure")
            else None
        ),
        granted=(
            Granted(
                message.granted.epoch,
                message.granted.age_ms,
                message.granted.remaining_ms,
                message.granted.in_sync_regions,
            )
            if message.HasField("granted")
            else None
        ),
        sync=(
            SyncStatus(message.sync.min_in_sync_regions, message.sync.in_sync, message.sync.degraded)
            if message.HasField("sync")
            else None
        ),
        quarantine=Quarantine(
            tails=message.quarantine.tails,
            rows=message.quarantine.rows,
            size_bytes=message.quarantine.size_bytes,
        ),
        ending=message.ending,
        ending_seconds=message.ending_ms / 1000,
        leaving=leaving_text(message.leaving) if message.HasField("leaving") else "",
        tails=tuple(
            QuarantinedTail(
                epoch=item.epoch,
                first_revision=item.first_revision,
                last_revision=item.last_revision,
                rows=item.count,
                size_bytes=item.size_bytes,
                file=item.file,
                replaced_by_epoch=item.replaced_by_epoch,
                revisions=item.revisions,
                fork_revision=item.fork_revision,
            )
            for item in message.quarantined[-TAILS_SHOWN:]
        ),
        staged=Staged(message.staged.revision, message.staged.rows) if message.HasField("staged") else None,
        members=tuple(message.members),
        learners=tuple(message.learners),
        joining=message.joining,
        version=message.version,
        feature_level=message.feature_level or 1,
        trusted_authorities=frozenset(digest.hex() for digest in message.trusted_authorities),
        certificate=message.certificate.hex(),
        keeps_advertised_addresses=message.keeps_advertised_addresses,
        access=in_force(message.access) if message.HasField("access") else None,
    )
