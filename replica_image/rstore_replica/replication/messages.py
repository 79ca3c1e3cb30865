"""Building and reading the messages of a stream."""

from __future__ import annotations

from collections.abc import Sequence

from rstore_api import errors
from rstore_api.domain.forks import Chain
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.mvcc.tail_facts import Leaving, Tail
from rstore_replica.replication.history import Ahead, Contradiction, Diverged, Stale
from rstore_replica.replication.ports import RegionStateView

REASON_OF_ERROR: dict[type[errors.StoreError], pb.StreamRefusal.Reason] = {
    errors.NotLeader: pb.StreamRefusal.NOT_LEADER,
    errors.StaleEpoch: pb.StreamRefusal.STALE_EPOCH,
    errors.WrongStore: pb.StreamRefusal.WRONG_STORE,
    errors.Gap: pb.StreamRefusal.GAP,
    errors.NotBootstrapped: pb.StreamRefusal.NOT_BOOTSTRAPPED,
    errors.Compacted: pb.StreamRefusal.COMPACTED,
    errors.NoSpace: pb.StreamRefusal.UNAVAILABLE,
}


class RefusedError(Exception):
    """The receiving region refuses the stream; carries the message that says so."""

    def __init__(
        self,
        reason: pb.StreamRefusal.Reason,
        message: str,
        *,
        leader_address: str = "",
        promised_epoch: int = 0,
    ) -> None:
        super().__init__(message)
        self.refusal = pb.StreamRefusal(
            reason=reason, message=message, leader_address=leader_address, promised_epoch=promised_epoch
        )

    @staticmethod
    def because(error: errors.StoreError, *, promised_epoch: int = 0) -> RefusedError:
        """Returns the refusal for an error of the vocabulary; UNAVAILABLE for those that have none of their own."""
        reason = REASON_OF_ERROR.get(type(error), pb.StreamRefusal.UNAVAILABLE)
        return RefusedError(reason, str(error), leader_address=error.leader, promised_epoch=promised_epoch)


def refusal_of(outcome: Ahead | Diverged | Stale | Contradiction) -> RefusedError:
    """Returns the refusal for a comparison of histories that does not allow the stream."""
    if isinstance(outcome, Stale):
        return RefusedError(pb.StreamRefusal.STALE_EPOCH, str(outcome), promised_epoch=outcome.promised_epoch)
    if isinstance(outcome, Ahead):
        return RefusedError(pb.StreamRefusal.GAP, str(outcome))
    return RefusedError(pb.StreamRefusal.DIVERGED, str(outcome))


def describe(refusal: pb.StreamRefusal) -> str:
    """One line for people."""
    reason = pb.StreamRefusal.Reason.Name(refusal.reason).lower().replace("_", "-")
    return f"refused ({reason}): {refusal.message}" if refusal.message else f"refused ({reason})"


def quarantined_message(tail: Tail) -> pb.QuarantinedTail:
    """Returns a tail as Status tells of it."""
    return pb.QuarantinedTail(
        epoch=tail.header.epoch,
        first_revision=tail.header.first_revision,
        last_revision=tail.header.last_revision,
        count=tail.count,
        size_bytes=tail.size_bytes,
        file=tail.file,
        replaced_by_epoch=tail.header.replaced_by_epoch,
        revisions=tail.revisions,
        fork_revision=tail.header.fork_revision,
    )


def quarantine_counts(tails: Sequence[Tail]) -> pb.QuarantineCounts:
    """Returns all tails of a region, as Status counts them."""
    return pb.QuarantineCounts(
        tails=len(tails),
        rows=sum(tail.count for tail in tails),
        size_bytes=sum(tail.size_bytes for tail in tails),
    )


def leaving_message(leaving: Leaving | None) -> pb.LeavingTail | None:
    """Returns how far a region is that leaves a tail; None when it leaves none."""
    if leaving is None:
        return None
    return pb.LeavingTail(
        phase=leaving.phase.value,
        file=leaving.header.file,
        fork_revision=leaving.header.fork_revision,
        last_revision=leaving.header.last_revision,
        exported_rows=leaving.count,
    )


def chain_of(state: RegionStateView, revision: int) -> Chain:
    """Returns the chain that a region's replicated state describes."""
    return Chain.of(state.history, revision)
