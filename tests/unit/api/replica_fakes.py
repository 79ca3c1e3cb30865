"""Small stand-ins for the layers below the API, under a test's control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rstore_api.domain.epochs import EpochStart
from rstore_api.errors import StoreError
from rstore_api.messages import topology_of
from rstore_api.proto import rpc_pb2, rstore_pb2
from rstore_replica.mvcc.state import RegionState
from rstore_replica.raft.types import GroupStatus, Member, Role

NAMES = ("orders-us-east-0", "orders-us-east-1", "orders-us-east-2")


def group_status(*, role: Role = Role.LEADER, leader: str | None = NAMES[0], **changes: Any) -> GroupStatus:
    """The status of orders-us-east-0."""
    values: dict[str, Any] = {
        "name": NAMES[0],
        "role": role,
        "leader": leader,
        "term": 3,
        "commit_index": 10,
        "applied_index": 10,
        "last_index": 10,
        "members": tuple(Member(name, f"{name}.peers:2380") for name in NAMES),
        "leader_since": None,
    }
    return GroupStatus(**values | changes)


def region_topology(name: str, replicas: int = 2) -> rstore_pb2.RegionTopology:
    return rstore_pb2.RegionTopology(
        name=name,
        replicas=[
            rstore_pb2.ReplicaAddress(
                name=f"orders-{name}-{index}",
                peer_address=f"orders-{name}-{index}.peers:2380",
                client_address=f"orders-{name}-{index}.peers:2379",
            )
            for index in range(replicas)
        ],
    )


def region_state(
    *, primary: bool = True, primary_region: str = "us-east", epoch: int = 1, **changes: Any
) -> RegionState:
    """The state of us-east in a store of us-east and eu-west."""
    values: dict[str, Any] = {
        "region": "us-east",
        "store_id": "store",
        "epoch": epoch,
        "promised_epoch": epoch,
        "primary": primary,
        "history": (EpochStart(epoch, 2, primary_region),),
        "topology": topology_of(
            rstore_pb2.Topology(
                epoch=epoch,
                version=1,
                primary_region=primary_region,
                regions=[region_topology("us-east"), region_topology("eu-west")],
            )
        ),
    }
    return RegionState(**values | changes)


@dataclass
class FakeGate:
    open: bool = True
    epoch: int = 1
    refusal: str = "a change of primary is under way"


@dataclass
class FakeGroup:
    """Holds each proposal until the test lets it go; commits at once when ``held`` is False."""

    held: bool = False
    refusal: BaseException | None = None
    proposals: list[rstore_pb2.LogEntry] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    answer: Callable[[rstore_pb2.WriteRequest], object] = lambda _request: rpc_pb2.PutResponse()
    now: GroupStatus = field(default_factory=group_status)

    def status(self) -> GroupStatus:
        return self.now

    @property
    def role(self) -> Role:
        return self.now.role

    @property
    def term(self) -> int:
        return self.now.term

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        decoded = rstore_pb2.LogEntry.FromString(entry)
        self.proposals.append(decoded)
        if self.held:
            gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(gate)
            await gate
        if self.refusal is not None:
            raise self.refusal
        batch = decoded.long_key_write if decoded.HasField("long_key_write") else decoded.write
        requests = [decoded.deletion.request] if decoded.HasField("deletion") else batch.requests
        return [self.answer(request) for request in requests]

    async def barrier(self, *, timeout_seconds: float) -> None:
        if isinstance(self.refusal, StoreError):
            raise self.refusal

    async def transfer_leadership(self, target: str | None, *, timeout_seconds: float) -> str:
        return target or NAMES[1]

    def on_change(self, callback: Callable[[Any], None], /) -> None:
        """Nothing ever changes by itself."""

    def let_go(self) -> None:
        """The oldest held proposal goes on."""
        self.waiting.pop(0).set_result(None)
