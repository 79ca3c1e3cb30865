"""What the services need from the layers below, as structural types, so that tests can put in their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from rstore_api.proto import rpc_pb2, rstore_pb2

from rstore_replica.raft.types import GroupStatus, Role
from rstore_replica.replication.ports import RegionStateView

ReadPoint = Callable[[int, int, float], Awaitable[int | None]]
"""Returns the newest revision that a linearizable read may show; see ``replication.acknowledging.read_point``."""


class HashView(Protocol):
    """A hash of the live keys as of ``hash_revision``."""

    @property
    def hash(self) -> int: ...
    @property
    def hash_revision(self) -> int: ...
    @property
    def compact_revision(self) -> int: ...


class Machine(Protocol):
    """The applied state of this replica (``mvcc.machine.Machine``)."""

    @property
    def revision(self) -> int: ...
    @property
    def compact_revision(self) -> int: ...
    @property
    def applied_index(self) -> int: ...
    @property
    def db_size_bytes(self) -> int: ...
    @property
    def db_in_use_bytes(self) -> int: ...
    @property
    def state(self) -> RegionStateView: ...

    def range(self, request: rpc_pb2.RangeRequest, /) -> rpc_pb2.RangeResponse:
        """The answer, its header empty; callable from any thread; raises a StoreError."""

    def encoded_range(
        self, request: rpc_pb2.RangeRequest, header: rpc_pb2.ResponseHeader, pace: Callable[[], None], /
    ) -> bytes:
        """The same with the header, encoded; callable from any thread; ``pace`` is called before each step.

        Also raises AnswerTooLarge, and ReadInterruptedError when it has to be made again.
        """

    def write_limits(self, incoming_bytes: int, /) -> rstore_pb2.WriteLimits:
        """The limits that a leader puts into an entry that will add so many bytes."""

    async def hash_kv(self, revision: int, /) -> HashView:
        """The hash as of ``revision`` (0: newest); raises Compacted or FutureRevision."""


class Group(Protocol):
    """The region's Raft group (``raft.group.Group``)."""

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        """The value ``apply`` returned here; raises NotLeader, NoLeader, TooManyRequests or OutcomeUnknown."""

    async def barrier(self, *, timeout_seconds: float) -> None:
        """Returns once what was committed before the call is applied here; leader only."""

    @property
    def role(self) -> Role:
        """Returns :attr:`GroupStatus.role` alone, for what asks with every call."""

    @property
    def term(self) -> int:
        """Returns :attr:`GroupStatus.term` alone, for what asks with every call."""

    def status(self) -> GroupStatus:
        """Known locally, without asking anybody."""

    async def transfer_leadership(self, target: str | None, *, timeout_seconds: float) -> str:
        """Hands leadership on; returns the new leader's name."""

    def on_change(self, callback: Callable[[Any], None], /) -> None:
        """Calls back when leader or term change."""


class WriteGate(Protocol):
    """Whether the region takes new writes at the moment, why not, and in which epoch."""

    @property
    def open(self) -> bool: ...
    @property
    def refusal(self) -> str: ...
    @property
    def epoch(self) -> int: ...
