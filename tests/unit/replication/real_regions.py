"""Regions of one replica each from the real parts: LMDB, Raft with its journal, gRPC on loopback without TLS."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path

import grpc.aio
from rstore_api import errors
from rstore_api.proto import rpc_pb2
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.mvcc.commands.registry import COMMANDS
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft.clock import SystemClock
from rstore_replica.raft.group import Group
from rstore_replica.raft.links.grpc_transport import GrpcTransport
from rstore_replica.raft.types import Member
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.features import Features
from rstore_replica.replication.service import Replication
from unit.replication.fakes.regions import STORE, eventually

HANDSHAKE_SECONDS = 3.0
"""A channel that is closed in the middle of a handshake leaves grpcio's call unanswered until this is over; tests wait
longer than that for a stream."""


class Wires:
    """A dialer whose channels can be broken, and whose addresses can be made unreachable."""

    def __init__(self) -> None:
        self.channels: list[grpc.aio.Channel] = []
        self.cut: set[str] = set()

    async def dial(self, address: str) -> grpc.aio.Channel:
        if address in self.cut:
            raise errors.Unreachable("cut")
        channel = grpc.aio.insecure_channel(f"ipv4:{address}", options=[("grpc.use_local_subchannel_pool", 1)])
        self.channels.append(channel)
        return channel

    async def break_all(self) -> None:
        """Every connection breaks."""
        channels, self.channels = self.channels, []
        for channel in channels:
            await channel.close(None)


class RealRegion:
    """One region, started and stopped over the same directory and port."""

    def __init__(self, name: str, directory: Path, wires: Wires, **knobs: float) -> None:
        self.name = name
        self.address = ""
        self._directory = directory
        self._wires = wires
        self._knobs = knobs
        self.replication: Replication | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server()
        port = self._server.add_insecure_port(self.address or "127.0.0.1:0")
        assert port, "the port could not be bound"
        self.address = f"127.0.0.1:{port}"
        self.machine = Machine.open(self._directory / "mvcc", region=self.name)
        me = Member(f"{self.name}-0", self.address)
        self.group = Group(
            name=me.name,
            members=(me,),
            directory=self._directory / "raft",
            machine=self.machine,
            transport=GrpcTransport(me.name, (me,)),
        )
        self.replication = Replication(
            machine=self.machine,
            group=self.group,
            clock=SystemClock(),
            config=ReplicationConfig(
                region=self.name, replica=me.name, handshake_seconds=HANDSHAKE_SECONDS, **self._knobs
            ),
            features=Features(region=self.name, machine=self.machine, required_level=COMMANDS.required_level),
            rng=random.Random(3),
            dialer=self._wires,
        )
        self.controller = self.replication.controller
        self.replication.add_to_server(self._server)
        await self.group.start()
        await self._server.start()
        await self.replication.start()
        await eventually(lambda: self.group.status().leader == me.name)

    async def stop(self) -> None:
        if self.replication is not None:
            await self.replication.stop()
            await self._server.stop(0)
            await self.group.stop()
            self.machine.close()
            self.replication = None

    async def put(self, key: bytes, value: bytes) -> int:
        """What the batcher does for one Put; its revision, or the error raised."""
        gate = self.controller.write_gate
        if not gate.open:
            raise errors.NoPrimary
        request = pb.WriteRequest(put=rpc_pb2.PutRequest(key=key, value=value))
        entry = pb.LogEntry(write=pb.WriteBatch(epoch=gate.epoch, requests=[request]))
        answers = await self.group.propose(entry.SerializeToString(), timeout_seconds=10)
        assert isinstance(answers, list)
        if isinstance(answers[0], errors.StoreError):
            raise answers[0]
        return int(answers[0].header.revision)

    def contents(self) -> dict[bytes, tuple[bytes, int, int]]:
        """Value, version and revision by key."""
        answer = self.machine.range(rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0"))
        return {pair.key: (pair.value, pair.version, pair.mod_revision) for pair in answer.kvs}

    def lag(self, region: str):
        """Progress of another region as this one sees it; None when it does not stream."""
        assert self.replication is not None
        return next((found for found in self.replication.progress() if found.region == region), None)


def topology_of(regions: Iterable[RealRegion], primary: str, *, epoch: int, version: int = 1) -> pb.Topology:
    """Where the regions are."""
    return pb.Topology(
        epoch=epoch,
        version=version,
        primary_region=primary,
        regions=[
            pb.RegionTopology(
                name=region.name,
                replicas=[pb.ReplicaAddress(name=f"{region.name}-0", peer_address=region.address)],
            )
            for region in regions
        ],
    )


async def bootstrap_all(regions: list[RealRegion], primary: str) -> None:
    """Starts the regions and bootstraps them into one store."""
    for region in regions:
        await region.start()
    for region in regions:
        shape = topology_of(regions, primary, epoch=1)
        await region.controller.bootstrap(pb.BootstrapRequest(store_id=STORE, topology=shape))


async def switch_over(regions: list[RealRegion], source: RealRegion, target: RealRegion, epoch: int) -> int:
    """The planned switchover, as the operator does it; returns the final revision of the old epoch."""
    demoted = await source.controller.demote(pb.DemoteRequest(store_id=STORE, epoch=epoch))
    await eventually(lambda: target.machine.revision >= demoted.final_revision, what="the target catching up")
    shape = topology_of(regions, target.name, epoch=epoch)
    await target.controller.promote(
        pb.PromoteRequest(store_id=STORE, epoch=epoch, min_revision=demoted.final_revision, topology=shape)
    )
    for region in regions:
        await region.controller.set_topology(pb.SetTopologyRequest(store_id=STORE, topology=shape))
    return demoted.final_revision


def same_everywhere(regions: Iterable[RealRegion]) -> bool:
    """Whether all are at the same revision and know the same epochs."""
    first, *others = regions
    return all(
        other.machine.revision == first.machine.revision
        and list(other.machine.state.history) == list(first.machine.state.history)
        for other in others
    )


async def hashes(regions: Iterable[RealRegion], revision: int) -> set[int]:
    """The regions' hashes at one revision; one element when they hold the same."""
    return set(await asyncio.gather(*[_hash(region, revision) for region in regions]))


async def _hash(region: RealRegion, revision: int) -> int:
    return (await region.machine.hash_kv(revision)).hash
