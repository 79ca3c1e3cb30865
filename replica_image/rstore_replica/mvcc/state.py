"""The replicated state of a region, and how each command changes it.

Every function takes the state and returns the next one, or the error to answer with; nothing here does I/O. The rules
are those of the design for epochs: see *Switchover* and *Failover* in ``docs/``.
"""

from __future__ import annotations

import msgspec
from rstore_api.domain.epochs import BASE_REVISION, EpochStart, History, count_at, epoch_at, epoch_of, settled
from rstore_api.domain.topology import Topology
from rstore_api.errors import (
    Behind,
    Gap,
    InvalidRequest,
    NoPrimary,
    NotBootstrapped,
    NotPrimary,
    StaleEpoch,
    StoreError,
    WrongStore,
)
from rstore_api.messages import history_of, topology_message, topology_of
from rstore_api.proto import rstore_pb2 as pb
from rstore_api.proto.rstore_pb2 import (
    BootstrapRequest,
    ImportStep,
    PromoteRequest,
    Rewind,
    SnapshotStep,
    StreamBatch,
)

from rstore_replica.mvcc.tail_facts import Leaving, Tail

MAX_JUMP = 1 << 40
"""The most revisions an epoch may leave out; 2^23 such failovers fit into a revision."""


class RegionState(msgspec.Struct, frozen=True):
    """What a region's replicas agree on besides the data."""

    region: str
    store_id: str = ""  # "" before Bootstrap
    epoch: int = 0
    promised_epoch: int = 0
    primary: bool = False  # this region is primary of ``epoch``
    history: History = ()
    topology: Topology | None = None
    tails: tuple[Tail, ...] = ()  # in quarantine
    leaving: Leaving | None = None
    tenure_bound_ms: int = 0  # the longest that a leader of this region grants; 0: none ever has
    feature_level: int = 1  # the highest of all commands that were applied

    @property
    def writable(self) -> bool:
        """Primary, and no higher epoch has been promised."""
        return self.primary and self.promised_epoch == self.epoch


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    store_id: str
    epoch: int
    promised_epoch: int
    primary: bool
    history: tuple[tuple[int, int, str], ...]
    topology: bytes | None
    parents: tuple[int, ...] = ()  # parent_revision of each entry of the history
    tails: tuple[Tail, ...] = ()
    leaving: Leaving | None = None
    tenure_bound_ms: int = 0
    feature_level: int = 1


def encode(state: RegionState) -> bytes:
    """Returns the form on disk. The region's own name is configuration and not part of it."""
    return msgspec.msgpack.encode(
        _Stored(
            state.store_id,
            state.epoch,
            state.promised_epoch,
            state.primary,
            tuple((start.epoch, start.first_revision, start.region) for start in state.history),
            None if state.topology is None else topology_message(state.topology).SerializeToString(deterministic=True),
            tuple(start.parent_revision for start in state.history),
            state.tails,
            state.leaving,
            state.tenure_bound_ms,
            state.feature_level,
        )
    )


def decode(region: str, stored: bytes) -> RegionState:
    """From the form on disk; raises ``msgspec.MsgspecError`` or protobuf's ``DecodeError`` when it is damaged."""
    record = msgspec.msgpack.decode(stored, type=_Stored)
    parents = record.parents or (0,) * len(record.history)
    return RegionState(
        region,
        record.store_id,
        record.epoch,
        record.promised_epoch,
        record.primary,
        tuple(
            EpochStart(epoch, first, name, parent)
            for (epoch, first, name), parent in zip(record.history, parents, strict=True)
        ),
        None if record.topology is None else topology_of(pb.Topology.FromString(record.topology)),
        record.tails,
        record.leaving,
        record.tenure_bound_ms,
        record.feature_level,
    )


def knowing(state: RegionState, level: int) -> RegionState:
    """Returns the state of a region that holds what versions below this feature level cannot read."""
    return msgspec.structs.replace(state, feature_level=level) if level > state.feature_level else state


def refusal_of_writes(state: RegionState, epoch: int) -> StoreError | None:
    """Returns why a write proposed in ``epoch`` is refused, or None when it is not."""
    if state.writable and epoch == state.epoch:
        return None
    if not state.store_id:
        return NotBootstrapped()
    primary_region = state.topology.primary_region if state.topology is not None else ""
    if not state.primary and primary_region not in ("", state.region):
        return NotPrimary(f"the primary region is {primary_region}")
    return NoPrimary()


def bootstrap(state: RegionState, request: BootstrapRequest) -> RegionState | StoreError:
    """A fresh region joins a store. Same store again: nothing changes; another one: refused."""
    if not request.store_id:
        return InvalidRequest("a store id is required")
    if state.store_id:
        if state.store_id == request.store_id:
            return state
        return WrongStore(f"it belongs to {state.store_id}")
    topology = topology_of(request.topology)
    if topology.primary_region != state.region:
        joined = msgspec.structs.replace(promise(state, request.promised_epoch), store_id=request.store_id)
        return with_topology(joined, topology) if request.HasField("topology") else joined
    latest = max(topology.epoch, request.promised_epoch)
    if latest > 1:
        # An empty region must not become primary of an epoch in which something may have been written.
        return InvalidRequest(f"a fresh region cannot be primary of epoch {topology.epoch}, {latest} is known")
    return msgspec.structs.replace(
        state,
        store_id=request.store_id,
        epoch=1,
        promised_epoch=max(1, state.promised_epoch),
        primary=True,
        history=(EpochStart(1, BASE_REVISION + 1, state.region),),
        topology=topology,
    )


def with_topology(state: RegionState, topology: Topology) -> RegionState:
    """The newer of two topologies is kept. One that names another primary in a higher epoch ends this region's."""
    current = state.topology
    if current is not None and topology.age <= current.age:
        return state
    if topology.epoch > state.epoch and topology.primary_region != state.region:
        promised = max(state.promised_epoch, topology.epoch)
        return msgspec.structs.replace(state, topology=topology, primary=False, promised_epoch=promised)
    return msgspec.structs.replace(state, topology=topology)


def promise(state: RegionState, epoch: int) -> RegionState:
    """Nothing of a lower epoch is accepted from here on."""
    return msgspec.structs.replace(state, promised_epoch=max(state.promised_epoch, epoch))


def promote(state: RegionState, revision: int, request: PromoteRequest) -> tuple[RegionState, int] | StoreError:
    """This region becomes primary of ``request.epoch``: the next state and the epoch's first revision.

    With a ``revision_jump`` the history has, from here on, left out that many revisions for every epoch before this,
    those included that the region knows nothing of; so two epochs that begin at the same revision, in regions that
    did not know of each other, number theirs differently. The store's revision is right below the first at once.
    """
    if not state.store_id:
        return NotBootstrapped()
    if request.store_id and request.store_id != state.store_id:
        return WrongStore(f"it belongs to {state.store_id}")
    epoch = request.epoch
    if epoch == state.epoch and state.primary:
        return state, state.history[-1].first_revision
    if epoch <= state.epoch or epoch < state.promised_epoch:
        return StaleEpoch(f"epoch {epoch} was asked for; {max(state.epoch, state.promised_epoch)} is promised")
    current = state.topology
    if current is not None and current.epoch >= epoch and current.primary_region != state.region:
        # A region that holds nothing of an epoch yet knows from its topology whose it is.
        return StaleEpoch(f"the primary region of epoch {current.epoch} is {current.primary_region}")
    if revision < request.min_revision:
        return Behind(f"it holds revision {revision}, {request.min_revision} is required")
    topology = state.topology
    if request.HasField("topology"):
        topology = topology_of(request.topology)
        if topology.primary_region != state.region or topology.epoch != epoch:
            return InvalidRequest(
                f"the topology names {topology.primary_region} as primary of epoch {topology.epoch}, "
                f"not {state.region} of epoch {epoch}"
            )
    if not 0 <= request.revision_jump <= MAX_JUMP:
        return InvalidRequest(f"a jump of {request.revision_jump} revisions")
    jump = request.revision_jump
    if jump:
        jump = max(jump, jump * (epoch - 1) - (revision - count_at(state.history, revision)))
    first_revision = revision + 1 + jump
    started = EpochStart(epoch, first_revision, state.region, revision if jump else 0)
    promoted = msgspec.structs.replace(
        state,
        epoch=epoch,
        promised_epoch=epoch,
        primary=True,
        history=(*state.history, started),
        topology=topology,
    )
    return promoted, first_revision


def accept_rows(state: RegionState, revision: int, batch: StreamBatch) -> RegionState | StoreError:
    """The state after ``batch``, or why its rows must not be applied. The rows themselves are checked elsewhere."""
    if not state.store_id:
        return NotBootstrapped()
    if batch.epoch < max(state.epoch, state.promised_epoch):
        return StaleEpoch(
            f"rows of epoch {batch.epoch} were sent; {max(state.epoch, state.promised_epoch)} is promised"
        )
    if state.primary and batch.epoch == state.epoch:
        return StaleEpoch(f"this region is itself primary of epoch {state.epoch}")
    if batch.prev_revision != revision:
        return Gap(f"it holds revision {revision}, the rows follow {batch.prev_revision}")
    if not batch.history:
        return InvalidRequest("replicated rows carry no epoch history")
    history = history_of(batch.history)
    ours, theirs = epoch_at(state.history, revision), epoch_at(history, revision)
    if ours != theirs:
        return Gap(f"revision {revision} is of epoch {ours} here and of epoch {theirs} at the sender: diverged")
    return msgspec.structs.replace(
        state,
        epoch=epoch_of(history),
        promised_epoch=max(state.promised_epoch, batch.epoch),
        primary=False,
        history=history,
    )


def accept_rewind(state: RegionState, revision: int, command: Rewind) -> RegionState | StoreError | None:
    """Returns the state after the region has left its tail for the history of ``command.epoch``, or why it must not.

    None when it does not stand where that was decided: it has been done already.
    """
    if not state.store_id:
        return NotBootstrapped()
    if command.epoch < max(state.epoch, state.promised_epoch) or (state.primary and command.epoch == state.epoch):
        return StaleEpoch(
            f"a rewind for epoch {command.epoch} was asked for; {max(state.epoch, state.promised_epoch)} is promised"
        )
    if command.fork_revision < BASE_REVISION:
        return InvalidRequest(f"there is no revision {command.fork_revision}")
    newest = epoch_of(state.history)
    if newest != command.tail_epoch or revision <= command.fork_revision:
        return None
    return msgspec.structs.replace(
        without_epochs_above(state, command.fork_revision), primary=False, promised_epoch=command.epoch
    )


def accept_snapshot(state: RegionState, revision: int, step: SnapshotStep) -> RegionState | StoreError:
    """Returns the state once the snapshot that ``step`` is of is installed, or why it must not be. The rows are checked
    elsewhere.
    """
    chunk = step.chunk
    if not state.store_id:
        return NotBootstrapped()
    if chunk.store_id != state.store_id:
        return WrongStore(f"it belongs to {state.store_id}")
    if chunk.epoch < max(state.epoch, state.promised_epoch) or (state.primary and chunk.epoch == state.epoch):
        return StaleEpoch(
            f"a snapshot of epoch {chunk.epoch} was sent; {max(state.epoch, state.promised_epoch)} is promised"
        )
    newest = epoch_of(state.history)
    if (newest, revision) != (step.held_epoch, step.held_revision):
        return Gap(f"it holds revision {revision} of epoch {newest}, no longer {step.held_revision}")
    # Of a store in which nothing was written before its present epoch, the snapshot is empty.
    history = history_of(chunk.history)
    newest_start = history[-1].first_revision if history else BASE_REVISION
    if not BASE_REVISION <= newest_start <= chunk.revision or (chunk.revision > BASE_REVISION and not history):
        return InvalidRequest("the snapshot's history does not belong to its revision")
    # At a fork in revisions that an epoch left out, the region holds what it held before that epoch.
    shared_revision = settled(state.history, step.fork_revision)
    if not BASE_REVISION <= step.fork_revision <= revision or shared_revision > chunk.revision:
        return InvalidRequest(f"the fork cannot be at revision {step.fork_revision}")
    return msgspec.structs.replace(
        state,
        epoch=epoch_of(history),
        promised_epoch=max(state.promised_epoch, chunk.epoch),
        primary=False,
        history=history,
    )


def without_epochs_above(state: RegionState, revision: int) -> RegionState:
    """Returns the history after everything above ``revision`` was undone. Epoch and promise never go back."""
    history = tuple(start for start in state.history if start.first_revision <= revision + 1)
    return state if history == state.history else msgspec.structs.replace(state, history=history)


def refusal_of_import(state: RegionState, revision: int, step: ImportStep) -> StoreError | None:
    """Returns why data from elsewhere must not come in: something was written, or this region is not primary."""
    chunk = step.chunk
    if not state.store_id:
        return NotBootstrapped()
    if chunk.store_id != state.store_id:
        return WrongStore(f"it belongs to {state.store_id}")
    if not state.writable or chunk.epoch != state.epoch:
        return NotPrimary(f"data was to be imported in epoch {chunk.epoch}")
    if revision != BASE_REVISION or len(state.history) != 1:
        return InvalidRequest(
            f"data can be imported only into a store in which nothing was written, this one is at revision {revision}"
        )
    if chunk.revision < BASE_REVISION or not 0 <= step.revision_jump <= MAX_JUMP:
        return InvalidRequest(f"a jump of {step.revision_jump} from revision {chunk.revision}")
    return None
