"""What replication needs from the layers below and around it, as structural types.

Everything that does I/O comes in through these (time: ``raft.clock.Clock``), so that tests and the simulator can put in
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rstore_api import errors
from rstore_api.domain.epochs import History
from rstore_api.domain.topology import Topology
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.mvcc.state import RegionState
from rstore_replica.mvcc.tail_facts import Leaving, Tail
from rstore_replica.raft.types import GroupStatus, Member, Role


class RegionStateView(Protocol):
    """The part of a region's replicated state that decides its role. Never changed, only replaced."""

    @property
    def store_id(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def promised_epoch(self) -> int: ...
    @property
    def primary(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    @property
    def history(self) -> History: ...
    @property
    def topology(self) -> Topology | None: ...
    @property
    def leaving(self) -> Leaving | None: ...
    @property
    def tenure_bound_ms(self) -> int: ...
    @property
    def feature_level(self) -> int: ...


class RowBatchView(Protocol):
    """Whole revisions, packed, or one that deleted a large range; ``count`` is 0 when there is nothing after the
    revision asked for.
    """

    @property
    def first_revision(self) -> int: ...
    @property
    def last_revision(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def packed(self) -> bytes: ...
    @property
    def deleted(self) -> pb.DeletedRange | None: ...


class SnapshotRowsView(Protocol):
    """Some of the keys at one revision, up to and with ``last_key``, packed; ``last``: no key follows."""

    @property
    def last_key(self) -> bytes: ...
    @property
    def count(self) -> int: ...
    @property
    def packed(self) -> bytes: ...
    @property
    def last(self) -> bool: ...


class StagedView(Protocol):
    """What a region has of a snapshot that is not visible yet."""

    def message(self) -> pb.StagedSnapshot:
        """Whose it is and how far it goes."""


class HoldView(Protocol):
    """Keeps compaction from removing what is needed from ``revision`` on."""

    @property
    def revision(self) -> int: ...

    def move(self, revision: int, /) -> None:
        """What is below ``revision`` is no longer needed."""

    def release(self) -> None:
        """Nothing is needed any more."""


class ReplicatedMachine(Protocol):
    """The applied state of this replica (``mvcc.machine.Machine``)."""

    @property
    def revision(self) -> int: ...
    @property
    def compact_revision(self) -> int: ...
    @property
    def db_size_bytes(self) -> int: ...
    @property
    def state(self) -> RegionStateView: ...

    @property
    def quarantined(self) -> Sequence[Tail]:
        """The diverged tails that the region keeps in quarantine."""

    @property
    def staged(self) -> StagedView | None:
        """What is here of a snapshot of another region that is not visible yet."""

    def refusal_of_rewind(self, fork_revision: int, /) -> errors.StoreError | None:
        """Why what is above ``fork_revision`` cannot go to quarantine: Compacted, NoSpace, or None when it can."""

    def refusal_of_export(self) -> errors.StoreError | None:
        """Returns NoSpace when there is no room for more of a tail on this replica's volume."""

    def refusal_of_staging(self) -> errors.StoreError | None:
        """Returns NoSpace when there is no room for more of a snapshot on this replica's volume."""

    @property
    def is_nearly_full(self) -> bool:
        """Whether the room that compaction could make is needed."""

    def rows_after(self, revision: int, *, max_bytes: int, max_rows: int, newest: int | None = None) -> RowBatchView:
        """Whole revisions after ``revision``, up to ``newest`` if given, never across the start of an epoch; raises
        ``errors.Compacted``.
        """

    def snapshot_after(self, after_key: bytes, revision: int, *, max_bytes: int, max_rows: int) -> SnapshotRowsView:
        """Keys as they were at ``revision``, in order; raises ``errors.Compacted`` or ``errors.FutureRevision``."""

    def hold(self, revision: int, /) -> HoldView:
        """Keeps what the two above need from ``revision`` on; raises ``errors.Compacted`` when some of it is gone."""

    def subscribe(self, callback: Callable[[int], None], /) -> Callable[[], None]:
        """Calls back with the new revision after each apply that changed it; returns how to stop that."""

    def subscribe_state(self, callback: Callable[[RegionState], None], /) -> Callable[[], None]:
        """As :meth:`subscribe`, after each change of the region's state."""


class RaftGroup(Protocol):
    """The region's Raft group (``raft.group.Group``). Proposals enter the log in the order ``propose`` was called."""

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        """Returns the value ``apply`` returned here; raises NotLeader, NoLeader, TooManyRequests or OutcomeUnknown."""

    async def change_members(
        self, *, add: Member | None = None, remove: str | None = None, timeout_seconds: float
    ) -> tuple[Member, ...]:
        """Takes a replica in, which counts when this returns, or one out; see ``raft.group.Group``."""

    async def barrier(self, *, timeout_seconds: float) -> None:
        """Returns once everything committed before the call is applied here and leadership was confirmed."""

    @property
    def role(self) -> Role:
        """Returns :attr:`GroupStatus.role` alone, for what asks with every call."""

    @property
    def term(self) -> int:
        """Returns :attr:`GroupStatus.term` alone, for what asks with every call."""

    def status(self) -> GroupStatus:
        """Known locally, without asking anybody."""

    async def transfer_leadership(self, target: str | None, *, timeout_seconds: float) -> str:
        """Hands leadership to ``target`` (None: the most up to date); returns the new leader's name."""

    def leave(self) -> None:
        """Tells the other replicas that this one is about to stop; it takes leadership no more."""

    def release(self, released: bool, /) -> None:
        """Tells the other replicas whether they need not stay for what this leader has acknowledged."""

    def in_touch(self) -> Sequence[str]:
        """Returns the other voting members that this replica is in touch with at the moment."""

    def on_change(self, callback: Callable[[GroupStatus], None], /) -> None:
        """Calls back when the leader, the term, or the replicas about to stop change."""


class StreamConnection(Protocol):
    """One open stream to a replica of another region. Not shared: one sender, one receiver."""

    async def send(self, request: pb.StreamRequest, /) -> None:
        """Hands one message to the transport, waiting for its flow control; raises LinkBrokenError."""

    async def receive(self) -> pb.StreamResponse | None:
        """Returns the next message, None at the orderly end; raises LinkBrokenError."""

    async def close(self) -> None:
        """Ends the stream at once; never raises."""


class Connector(Protocol):
    """Opens streams. The real one is ``connection.GrpcConnector``."""

    async def connect(self, address: str, /) -> StreamConnection:
        """Returns a fresh stream to ``host:port``, the name resolved now; raises LinkBrokenError."""


class Random(Protocol):
    """The random source for jitter."""

    def uniform(self, low: float, high: float, /) -> float:
        """Returns a number between ``low`` and ``high``."""
