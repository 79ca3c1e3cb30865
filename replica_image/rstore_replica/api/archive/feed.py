"""The log of revisions as an archiver gets it: where it begins for one that has something already, and what comes next.

Nothing here waits or asks the time.
"""

from __future__ import annotations

from dataclasses import dataclass

from rstore_api import errors
from rstore_api.domain.epochs import History, after_jumps, settled
from rstore_api.domain.forks import Chain
from rstore_api.messages import history_messages, history_of
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.replication.history import Contradiction, Diverged, Resume, compare, history_up_to
from rstore_replica.replication.messages import chain_of
from rstore_replica.replication.ports import ReplicatedMachine

MAX_BATCH_BYTES = 1 << 20
MAX_BATCH_ROWS = 1000
"""Read on the event loop: some milliseconds."""


@dataclass(frozen=True)
class Begin:
    """Where the rows begin: behind ``after_revision``. ``fork_revision`` is the last that both sides have; 0: none."""

    history: History
    after_revision: int
    fork_revision: int
    compacted: bool = False


def begin(machine: ReplicatedMachine, shown: int, request: pb.FollowRequest) -> Begin:
    """Returns where the feed of a caller begins. ``shown`` is the newest revision that it may have.

    Raises WrongStore, NotBootstrapped, InvalidRequest; Behind where the caller has more than this replica.
    """
    state = machine.state
    if not state.store_id:
        raise errors.NotBootstrapped
    if request.store_id and request.store_id != state.store_id:
        raise errors.WrongStore(f"it belongs to {state.store_id}")
    ours = chain_of(state, machine.revision)
    # Not where an epoch has begun behind a jump: a base is of a revision that exists, and the line goes on from it.
    newest = settled(ours.history, shown)
    if not request.revision:
        return Begin(_begun(ours.history, newest), newest, 0)
    try:
        theirs = Chain.of(history_of(request.history), request.revision)
    except ValueError as error:
        raise errors.InvalidRequest(f"the history cannot be: {error}") from error
    outcome = compare(ours, theirs)
    if isinstance(outcome, Contradiction):
        raise errors.InvalidRequest(str(outcome))
    if isinstance(outcome, Resume):
        fork = outcome.after_revision
    elif isinstance(outcome, Diverged):
        fork = outcome.fork_revision
    else:
        raise errors.Behind(str(outcome))
    if fork < newest and _is_compacted(machine, fork):
        return Begin(_begun(ours.history, newest), newest, fork, compacted=True)
    shared = theirs.history if fork == theirs.revision else history_up_to(theirs, fork)
    return Begin(tuple(start for start in shared if start in ours.history), fork, fork)


class Feed:
    """What follows where the feed has begun, batch by batch."""

    def __init__(self, machine: ReplicatedMachine, start: Begin) -> None:
        self._machine = machine
        self.revision = start.after_revision
        """Everything up to here has been returned."""
        self._history = start.history

    @property
    def holds(self) -> bool:
        """Whether what was returned is still part of what this region has: it may have left it in a failover."""
        ours = chain_of(self._machine.state, self._machine.revision)
        outcome = compare(ours, Chain.of(self._history, self.revision))
        return isinstance(outcome, Resume)

    def next_batch(self, shown: int) -> pb.StreamBatch | None:
        """Returns the next batch of what may be shown; None when that is all. Raises Compacted."""
        ours = chain_of(self._machine.state, self._machine.revision)
        batch = (
            self._machine.rows_after(self.revision, max_bytes=MAX_BATCH_BYTES, max_rows=MAX_BATCH_ROWS, newest=shown)
            if shown > self.revision
            else None
        )
        if batch is not None and batch.count:
            last_revision = batch.last_revision
        else:
            last_revision = after_jumps(ours.history, self.revision)
            if last_revision > max(shown, self.revision):
                return None
        history = history_up_to(ours, last_revision)
        has_rows = batch is not None and batch.count
        if not has_rows and history == self._history:
            return None
        message = pb.StreamBatch(
            epoch=self._machine.state.epoch,
            prev_revision=self.revision,
            last_revision=last_revision,
            history=history_messages(history),
        )
        if batch is not None and batch.count:
            message.rows = batch.packed
            message.row_count = 0 if batch.deleted is not None else batch.count
            if batch.deleted is not None:
                message.deleted.CopyFrom(batch.deleted)
        self.revision, self._history = last_revision, history
        return message


def base_revision(machine: ReplicatedMachine, shown: int, request: pb.BaseRequest) -> tuple[History, int]:
    """Returns the revision of a base that is made now, and the epochs up to it. Raises WrongStore, NotBootstrapped,
    Behind.
    """
    state = machine.state
    if not state.store_id:
        raise errors.NotBootstrapped
    if request.store_id and request.store_id != state.store_id:
        raise errors.WrongStore(f"it belongs to {state.store_id}")
    revision = settled(state.history, shown)
    if revision < request.min_revision:
        raise errors.Behind(f"revision {revision} may be shown here, {request.min_revision} is asked for")
    return _begun(state.history, revision), revision


def _begun(history: History, revision: int) -> History:
    """Returns the epochs up to that of a revision; the first one also where nothing was written in it yet."""
    return tuple(start for start in history if start.first_revision <= revision) or history[:1]


def _is_compacted(machine: ReplicatedMachine, revision: int) -> bool:
    try:
        machine.hold(revision).release()
    except errors.Compacted:
        return True
    return False
