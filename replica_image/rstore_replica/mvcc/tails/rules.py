"""How a region comes to leave a diverged tail, and what else may happen to it meanwhile.

While rows are exported the region is as it was: it serves reads, and takes no writes (a higher epoch is promised). If
it turns out that its revisions are the store's after all (it is promoted itself, or a source goes on from them), it
does not leave them. With the last row in the file the store is at the fork at once, for all readers; the tail's rows
are hidden from then on, and undone. That is finished before the region takes rows or becomes primary.
"""

from __future__ import annotations

import msgspec
from rstore_api.errors import NoSpace, NotReady, StoreError
from rstore_api.proto.rstore_pb2 import Rewind

from rstore_replica.mvcc.state import RegionState, accept_rewind, without_epochs_above
from rstore_replica.mvcc.tail_facts import Leaving, Phase, Tail, TailHeader

MAX_TAILS = 1000
"""Tails that a region keeps. The next one has to wait until some are dropped."""


def refusal_while_undoing(state: RegionState) -> StoreError | None:
    """Returns why the region takes no rows and does not become primary now."""
    if state.leaving is None or state.leaving.phase is not Phase.UNDOING:
        return None
    return NotReady(f"{state.region} is undoing its revisions above {state.leaving.header.fork_revision}")


def refusal_of_compaction(state: RegionState) -> StoreError | None:
    """What is being left must not be compacted before it is in the file."""
    if state.leaving is None:
        return None
    return NotReady(f"{state.region} is leaving its revisions above {state.leaving.header.fork_revision}")


def begin(state: RegionState, revision: int, command: Rewind, first: int, last: int) -> RegionState | StoreError | None:
    """Returns the state in which rows ``first`` to ``last`` are exported, or why they must not be left.

    None when the region does not stand where that was decided, or is on its way already.
    """
    leaving = state.leaving
    if leaving is not None and (leaving.phase is Phase.UNDOING or _same(leaving, command)):
        return None
    accepted = accept_rewind(state, revision, command)
    if isinstance(accepted, StoreError) or accepted is None:
        return accepted
    if len(state.tails) >= MAX_TAILS:
        return NoSpace(f"{MAX_TAILS} diverged tails are in quarantine; drop some of them")
    header = TailHeader(
        store_id=state.store_id,
        region=state.region,
        epoch=command.tail_epoch,
        first_revision=first,
        last_revision=last,
        fork_revision=command.fork_revision,
        replaced_by_epoch=command.epoch,
        history=state.history,
    )
    leaving = Leaving(header, Phase.EXPORTING, command.keep_data, command.fork_revision + 1, 0)
    return msgspec.structs.replace(state, primary=False, promised_epoch=command.epoch, leaving=leaving)


def _same(leaving: Leaving, command: Rewind) -> bool:
    header = leaving.header
    return (header.fork_revision, header.replaced_by_epoch, header.epoch, leaving.keep_data) == (
        command.fork_revision,
        command.epoch,
        command.tail_epoch,
        command.keep_data,
    )


def exported(state: RegionState, leaving: Leaving) -> RegionState:
    """The state when every row is in the file: at the fork, unless a snapshot is to take the place of the data."""
    if leaving.keep_data:
        return msgspec.structs.replace(state, leaving=msgspec.structs.replace(leaving, phase=Phase.EXPORTED))
    kept = without_epochs_above(state, leaving.header.fork_revision)
    undoing = msgspec.structs.replace(leaving, phase=Phase.UNDOING)
    return msgspec.structs.replace(kept, leaving=undoing, tails=with_tail(kept.tails, leaving.tail))


def replaced(state: RegionState) -> RegionState:
    """Returns the state when a snapshot has taken the place of the data whose tail was exported."""
    if state.leaving is None or state.leaving.phase is not Phase.EXPORTED:
        return state
    return msgspec.structs.replace(state, leaving=None, tails=with_tail(state.tails, state.leaving.tail))


def undone(state: RegionState) -> RegionState:
    """Returns the state when no row of the tail is left in the data."""
    return msgspec.structs.replace(state, leaving=None)


def stayed(state: RegionState) -> RegionState:
    """Returns the state of a region that does not leave its revisions after all."""
    return state if state.leaving is None else msgspec.structs.replace(state, leaving=None)


def without_tail(state: RegionState, file: str) -> RegionState:
    """Returns the state after a tail was dropped from quarantine; the same when there is none of that name."""
    kept = tuple(tail for tail in state.tails if tail.file != file)
    return state if len(kept) == len(state.tails) else msgspec.structs.replace(state, tails=kept)


def with_tail(tails: tuple[Tail, ...], tail: Tail | None) -> tuple[Tail, ...]:
    """Returns the tails with one more, none twice."""
    if tail is None:
        return tails
    return (*(other for other in tails if other.file != tail.file), tail)
