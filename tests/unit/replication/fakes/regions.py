"""In-memory regions for the tests of replication, each of a fake machine and a fake group, on a fake network."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

from rstore_api import errors
from rstore_api.proto import rpc_pb2
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.mvcc.commands.registry import COMMANDS
from rstore_replica.raft.clock import Clock, SystemClock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.features import Features
from rstore_replica.replication.ports import Random
from rstore_replica.replication.service import Replication
from rstore_replica.replication.tenure.grants import GrantLink
from unit.replication.fakes.group import FakeGroup
from unit.replication.fakes.machine import FakeMachine
from unit.replication.fakes.network import FakeNetwork

STORE = "store-1"


async def eventually(condition: Callable[[], bool], *, seconds: float = 60.0, what: str = "the condition") -> None:
    """Returns when the condition holds; fails when it does not within ``seconds``."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come true within {seconds} s"
        await asyncio.sleep(0.002)


class FakeRegion:
    """One region with one replica that takes part, and perhaps names of others."""

    def __init__(
        self,
        name: str,
        network: FakeNetwork,
        *,
        replicas: int = 1,
        clock: Clock | None = None,
        rng: Random | None = None,
        grants: GrantLink | None = None,
        **knobs: object,
    ) -> None:
        self.name = name
        self.machine = FakeMachine(name)
        self.group = FakeGroup(name, self.machine, replicas=replicas)
        settings: dict[str, object] = {
            "batch_interval_seconds": 0.001,
            "heartbeat_seconds": 0.02,
            "silence_seconds": 2.0,
            "backoff_min_seconds": 0.005,
            "backoff_max_seconds": 0.05,
            "review_seconds": 0.05,
        }
        self.config = ReplicationConfig(region=name, replica=f"{name}-0", **{**settings, **knobs})  # type: ignore[arg-type]
        self.replication = Replication(
            machine=self.machine,
            group=self.group,
            clock=clock or SystemClock(),
            config=self.config,
            features=Features(region=name, machine=self.machine, required_level=COMMANDS.required_level),
            rng=rng or random.Random(7),
            connector=network,
            grants=grants,
        )
        self.addresses = [f"{replica}:2380" for replica in self.group.names]
        network.replications[self.addresses[0]] = self.replication

    @property
    def controller(self):
        return self.replication.controller

    @property
    def progress(self):
        return {region.region: region for region in self.replication.progress()}

    async def write(self, *values: bytes) -> list[object]:
        """What a batcher does: one entry for several requests."""
        gate = self.controller.write_gate
        if not gate.open:
            raise errors.NoPrimary
        requests = [pb.WriteRequest(put=rpc_pb2.PutRequest(key=b"k", value=value)) for value in values]
        entry = pb.LogEntry(write=pb.WriteBatch(epoch=gate.epoch, requests=requests))
        answers = await self.group.propose(entry.SerializeToString(), timeout_seconds=5)
        assert isinstance(answers, list)
        return answers


def topology(regions: Iterable[FakeRegion], primary: str, *, epoch: int = 1, version: int = 1) -> pb.Topology:
    """Where the fake regions are."""
    return pb.Topology(
        epoch=epoch,
        version=version,
        primary_region=primary,
        regions=[
            pb.RegionTopology(
                name=region.name,
                replicas=[
                    pb.ReplicaAddress(name=address.split(":")[0], peer_address=address, client_address=address)
                    for address in region.addresses
                ],
            )
            for region in regions
        ],
    )


async def bootstrap(regions: Iterable[FakeRegion], primary: str) -> None:
    """Bootstraps every region into one store."""
    regions = list(regions)
    for region in regions:
        request = pb.BootstrapRequest(store_id=STORE, topology=topology(regions, primary))
        await region.controller.bootstrap(request)


def converged(regions: Iterable[FakeRegion]) -> bool:
    """Whether all regions hold the same and know the same epochs."""
    first, *others = regions
    return all(
        other.machine.values == first.machine.values
        and other.machine.revision == first.machine.revision
        and list(other.machine.state.history) == list(first.machine.state.history)
        for other in others
    )
