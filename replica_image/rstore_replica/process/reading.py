"""The figures of a replica's metrics, read at each scrape."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import rstore_api

from rstore_replica.api.archive.keeping import Keeping
from rstore_replica.api.batcher import Batcher
from rstore_replica.api.identity import Identity
from rstore_replica.api.leases.keeper import LeaseKeeper
from rstore_replica.api.locks.candidates import Candidates
from rstore_replica.api.services.watch import WatchService
from rstore_replica.etcd_metrics import EtcdReading, PeerTraffic
from rstore_replica.metrics import Reading, RegionLag
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.life import Life
from rstore_replica.process.standing import Standing
from rstore_replica.raft.group import Group
from rstore_replica.raft.types import Role
from rstore_replica.replication.service import Replication
from rstore_replica.replication.tail_fetcher import TailFetcher


def read(
    *,
    store: str,
    identity: Identity,
    life: Life,
    standing: Standing,
    machine: Machine,
    group: Group,
    replication: Replication,
    batcher: Batcher,
    watch: WatchService,
    leases: LeaseKeeper,
    candidates: Candidates,
    tail_fetcher: TailFetcher,
    keeping: Keeping,
    data_directory: Path,
    round_trips: Mapping[str, float],
    peers: Mapping[str, PeerTraffic],
    quota_bytes: int,
    leader_changes: int,
) -> Reading:
    """Returns the replica at this moment; what its group would say is left out while it takes no part in it."""
    disk = shutil.disk_usage(data_directory)
    state, staged = machine.state, machine.staged
    status = group.status() if life.running else None
    transfers = {transfer.region: transfer.size_bytes for transfer in replication.sender.transfers()}
    return Reading(
        store=store,
        region=identity.region,
        replica=identity.replica,
        version=rstore_api.__version__,
        revision=machine.revision,
        compact_revision=machine.compact_revision,
        epoch=state.epoch,
        promised_epoch=state.promised_epoch,
        is_leader=status is not None and status.role is Role.LEADER,
        has_leader=status is not None and status.leader is not None,
        primary=state.primary,
        writable=state.writable,
        ready=not standing.not_ready_reason(),
        term=status.term if status is not None else 0,
        commit_index=status.commit_index if status is not None else 0,
        applied_index=machine.applied_index,
        db_size_bytes=machine.db_size_bytes,
        disk_free_bytes=disk.free,
        disk_size_bytes=disk.total,
        queued_writes=batcher.queued,
        watches=watch.watches,
        leases=len(leases),
        lock_waits=candidates.waiting,
        quarantined_tails=len(machine.quarantined),
        quarantined_rows=sum(tail.count for tail in machine.quarantined),
        quarantined_bytes=sum(tail.size_bytes for tail in machine.quarantined),
        staged_bytes=staged.size_bytes if staged is not None else 0,
        archive_kept_revision=keeping.revision,
        quarantined_missing=len(tail_fetcher.missing()),
        tenure_held=replication.tenure.held(state.epoch),
        tenure_remaining_seconds=replication.tenure.remaining_seconds(),
        sync=replication.acknowledging.status(),
        etcd=EtcdReading(
            has_leader=status is not None and status.leader is not None,
            is_leader=status is not None and status.role is Role.LEADER,
            is_learner=status is not None and identity.replica in status.learners,
            leader_changes=leader_changes,
            committed_index=status.commit_index if status is not None else 0,
            applied_index=machine.applied_index,
            pending_proposals=batcher.pending,
            failed_proposals=batcher.failed_entries,
            db_size_bytes=machine.db_size_bytes,
            db_in_use_bytes=machine.db_in_use_bytes,
            quota_bytes=quota_bytes,
            revision=machine.revision,
            compact_revision=machine.compact_revision,
            round_trips=round_trips,
            peers=peers,
        ),
        regions=tuple(
            RegionLag(
                region.region,
                region.connected,
                region.acked_revision,
                region.lag_revisions,
                region.lag_bytes,
                region.lag_seconds,
                transfers.get(region.region, 0),
            )
            for region in replication.progress()
        ),
    )
