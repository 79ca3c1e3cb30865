"""Real replicas, each an operating-system process on a loopback address of its own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from integration.replicas.server_certificates import Authority
from rstore_api import methods
from rstore_api.client import Client, TlsFiles, User
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.errors import NoLeader, NotLeader, StoreError
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.proto import rstore_pb2

T = TypeVar("T")

STORE_ID = "4c1c6f2e-0000-4000-8000-000000000001"
CLIENT_PORT, PEER_PORT, HTTP_PORT = 2379, 2380, 9090
WAIT_SECONDS = 120.0
"""Bounds a wait: several times what is usual, for a machine that is busy."""


def free_loopback_address() -> str:
    """Returns a random 127.x.y.z on which none of a replica's ports is taken."""
    for _ in range(100):
        host = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(2, 254)}"
        try:
            for port in (CLIENT_PORT, PEER_PORT, HTTP_PORT):
                with socket.socket() as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return host
    raise RuntimeError("no free loopback address found")


async def eventually(
    probe: Callable[[], Awaitable[T]], *, accept: Callable[[T], bool] = bool, timeout_seconds: float = WAIT_SECONDS
) -> T:
    """Calls ``probe`` until ``accept`` is true of what it returns, and returns that; a StoreError counts as not yet."""
    deadline = time.monotonic() + timeout_seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            answer = await probe()
            if accept(answer):
                return answer
            last = answer
        except StoreError as error:
            last = error
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {timeout_seconds} s; last: {last!r}")


@dataclass
class ReplicaProcess:
    """One replica: its address, files, and process while it runs."""

    name: str
    host: str
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    ended: bool = False
    """Whether the test has ended it."""
    logs: list[Path] = field(default_factory=list)
    code: Path | None = None
    """The directory where another version is installed that it runs; None: this version."""

    @property
    def client_address(self) -> str:
        return f"{self.host}:{CLIENT_PORT}"

    @property
    def peer_address(self) -> str:
        return f"{self.host}:{PEER_PORT}"

    def start(self, *extra: str) -> None:
        log = self.directory / f"log-{len(self.logs)}.jsonl"
        self.logs.append(log)
        self.ended = False
        other_version = {"PYTHONPATH": str(self.code)} if self.code is not None else {}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "rstore_replica",
                    f"--config={self.directory.parent / 'replica.json'}",
                    f"--data-dir={self.directory / 'data'}",
                    f"--tls-dir={self.directory / 'tls'}",
                    f"--name={self.name}",
                    *extra,
                ],
                env={**os.environ, "RSTORE_LISTEN_HOST": self.host, **other_version},
                stdout=out,
                stderr=out,
            )

    async def end(self, number: int = signal.SIGTERM, *, timeout_seconds: float = WAIT_SECONDS) -> int:
        """Sends the signal, waits for the end, and returns the exit code."""
        assert self.process is not None
        self.ended = True
        self.process.send_signal(number)
        return await self.ended_with(timeout_seconds=timeout_seconds)

    async def ended_with(self, *, timeout_seconds: float = WAIT_SECONDS) -> int:
        """Waits for the end, and returns the exit code."""
        process = self.process
        assert process is not None

        async def probe() -> int | None:
            return process.poll()

        code = await eventually(probe, accept=lambda code: code is not None, timeout_seconds=timeout_seconds)
        assert code is not None
        return code

    def kill(self) -> None:
        """Ends it now, if it still runs."""
        if self.process is not None:
            self.ended = True
            self.process.kill()
            self.process.wait()

    def log_text(self) -> str:
        return "".join(path.read_text() for path in self.logs)


async def get_page(replica: ReplicaProcess, path: str) -> tuple[int, str]:
    """Returns status and text of a page of the HTTP port; status 0 and the error where none answers."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(f"http://{replica.host}:{HTTP_PORT}{path}") as response,
        ):
            return response.status, await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return 0, str(error)


class RegionProcesses:
    """The replicas of one region, with certificates of ``authority``."""

    def __init__(self, directory: Path, authority: Authority, *, region: str, replicas: int, **settings: Any) -> None:
        self.region = region
        self.directory = directory / region
        self.authority = authority
        self.replicas = [
            ReplicaProcess(f"orders-{region}-{index}", free_loopback_address(), self.directory / str(index))
            for index in range(replicas)
        ]
        for replica in self.replicas:
            authority.issue(replica.directory / "tls", "peer", addresses=(replica.host,))
        self.operator = authority.issue(self.directory / "operator", "operator")
        self.client_files = authority.issue(self.directory / "client", "client")
        config = {
            "store": "orders",
            "namespace": "default",
            "region": region,
            "members": [{"name": one.name, "peerAddress": one.peer_address} for one in self.replicas],
            "raft": {"electionTimeoutMinMs": 300, "electionTimeoutMaxMs": 600, "heartbeatMs": 50},
            **settings,
        }
        (self.directory / "replica.json").write_text(json.dumps(config))

    def start(self) -> None:
        for replica in self.replicas:
            replica.start()

    def stop(self) -> None:
        """Ends every process that is still there."""
        for replica in self.replicas:
            replica.kill()

    @property
    def topology_entry(self) -> rstore_pb2.RegionTopology:
        return rstore_pb2.RegionTopology(
            name=self.region,
            replicas=[
                rstore_pb2.ReplicaAddress(
                    name=one.name, peer_address=one.peer_address, client_address=one.client_address
                )
                for one in self.replicas
            ],
        )

    def client(self, *replicas: ReplicaProcess, files: TlsFiles | None = None, user: User | None = None) -> Client:
        chosen = replicas or tuple(self.replicas)
        return Client([one.client_address for one in chosen], tls=files or self.client_files, user=user)

    def peer(self, replica: ReplicaProcess, *, files: TlsFiles | None = None) -> Endpoint:
        """A connection to the replica's peer port, with the operator's certificate unless another is given."""
        return Endpoint(replica.peer_address, tls=files or self.operator)

    async def leader(self, *, timeout_seconds: float = WAIT_SECONDS) -> ReplicaProcess:
        """Returns the replica that reports itself as leader."""

        async def probe() -> ReplicaProcess | None:
            for replica in self.replicas:
                if replica.process is None or replica.ended:
                    continue
                if replica.process.poll() is not None:
                    raise AssertionError(f"{replica.name} ended by itself:\n{replica.log_text()[-4000:]}")
                async with self.peer(replica) as peer:
                    try:
                        request = rstore_pb2.StatusRequest()
                        if (await peer.call(methods.ADMIN_STATUS, request, timeout_seconds=1)).is_leader:
                            return replica
                    except StoreError:
                        continue
            return None

        leader = await eventually(probe, timeout_seconds=timeout_seconds)
        assert leader is not None
        return leader

    async def on_leader(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Calls the method at the leader, also while leadership moves, and returns its answer."""

        async def probe() -> tuple[ResponseT]:
            async with self.peer(await self.leader()) as peer:
                return (await peer.call(method, request, timeout_seconds=10),)

        try:
            return (await eventually(probe))[0]
        except (NoLeader, NotLeader) as error:
            raise AssertionError("no leader kept its office") from error

    async def bootstrap_into(self, where: rstore_pb2.Topology) -> None:
        """Makes it a region of the store."""
        await self.on_leader(methods.ADMIN_BOOTSTRAP, rstore_pb2.BootstrapRequest(store_id=STORE_ID, topology=where))

    async def set_topology(self, where: rstore_pb2.Topology) -> None:
        request = rstore_pb2.SetTopologyRequest(store_id=STORE_ID, topology=where)
        await self.on_leader(methods.ADMIN_SET_TOPOLOGY, request)

    async def demote(self, epoch: int) -> rstore_pb2.DemoteResponse:
        return await self.on_leader(methods.ADMIN_DEMOTE, rstore_pb2.DemoteRequest(store_id=STORE_ID, epoch=epoch))

    async def promote(
        self, epoch: int, min_revision: int, where: rstore_pb2.Topology, *, revision_jump: int = 0
    ) -> rstore_pb2.PromoteResponse:
        request = rstore_pb2.PromoteRequest(
            store_id=STORE_ID,
            epoch=epoch,
            min_revision=min_revision,
            topology=where,
            revision_jump=revision_jump,
        )
        return await self.on_leader(methods.ADMIN_PROMOTE, request)


def topology(
    primary: str,
    *regions: RegionProcesses,
    epoch: int = 1,
    version: int = 1,
    sync: rstore_pb2.SyncRule | None = None,
) -> rstore_pb2.Topology:
    return rstore_pb2.Topology(
        epoch=epoch,
        version=version,
        primary_region=primary,
        regions=[region.topology_entry for region in regions],
        sync=sync,
    )


async def bootstrap(*regions: RegionProcesses) -> None:
    """Bootstraps the regions into one store; the first is primary."""
    where = topology(regions[0].region, *regions)
    for region in regions:
        await region.bootstrap_into(where)
