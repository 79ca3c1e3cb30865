"""Leads a region through leaving a diverged tail: one entry after the other, each bounded.

Where that breaks off (this replica leads no more, the disk is full, the source has gone) nothing is lost: what is done
is replicated, and the next leader goes on from there with the next source, or before the region becomes primary.
"""

from __future__ import annotations

from rstore_api import errors
from rstore_api.logs import get_logger
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.mvcc.tail_facts import Phase
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.ports import RaftGroup, ReplicatedMachine

log = get_logger(__name__)


async def leave_tail(
    machine: ReplicatedMachine, group: RaftGroup, rewind: pb.Rewind, config: ReplicationConfig
) -> None:
    """Takes what is above ``rewind.fork_revision`` to quarantine, and out of the data unless that is to be kept.

    Raises a StoreError: Compacted or NoSpace when it cannot go on, or what
    proposing raises.
    """
    rewind.max_rows, rewind.max_bytes = config.rewind_step_rows, config.rewind_step_bytes
    refusal = None if rewind.keep_data else machine.refusal_of_rewind(rewind.fork_revision)
    if refusal is not None:
        log.error("rewind_refused", fork_revision=rewind.fork_revision, reason=str(refusal))
        raise refusal
    log.warning(
        "rewinding",
        epoch=rewind.epoch,
        fork_revision=rewind.fork_revision,
        tail_epoch=rewind.tail_epoch,
        tail_last_revision=machine.revision,
    )
    before = {tail.file for tail in machine.quarantined}
    done = _done(await group.propose(_entry(rewind=rewind), timeout_seconds=config.propose_seconds))
    if not done:
        await _go_on(machine, group, config)
    for tail in machine.quarantined:
        if tail.file not in before:
            log.warning(
                "tail_quarantined", file=tail.file, rows=tail.count, revisions=tail.revisions, bytes=tail.size_bytes
            )


async def finish_undoing(machine: ReplicatedMachine, group: RaftGroup, config: ReplicationConfig) -> None:
    """Completes what another leader, or an earlier stream, has begun to undo. Raises as :func:`leave_tail`."""
    leaving = machine.state.leaving
    if leaving is not None and leaving.phase is Phase.UNDOING:
        await _go_on(machine, group, config)


async def _go_on(machine: ReplicatedMachine, group: RaftGroup, config: ReplicationConfig) -> None:
    bounds = pb.RewindStep(max_rows=config.rewind_step_rows, max_bytes=config.rewind_step_bytes)
    step = _entry(rewind_step=bounds)
    done = False
    while not done:
        leaving = machine.state.leaving
        refusal = machine.refusal_of_export() if leaving is not None and leaving.phase is Phase.EXPORTING else None
        if refusal is not None:
            log.error("rewind_waits", reason=str(refusal))
            raise refusal
        done = _done(await group.propose(step, timeout_seconds=config.propose_seconds))


def _entry(*, rewind: pb.Rewind | None = None, rewind_step: pb.RewindStep | None = None) -> bytes:
    return pb.LogEntry(rewind=rewind, rewind_step=rewind_step).SerializeToString()


def _done(answer: object) -> bool:
    if isinstance(answer, errors.StoreError):
        raise answer
    return isinstance(answer, int)
