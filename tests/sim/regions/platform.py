"""Puts the simulated world under the replica's and the operator's real code, in one place.

What the process of a replica makes for itself (clock, disk, chance, servers, connections) comes from its simulated
machine meanwhile; everything between that and the algorithms is the code that runs in a pod.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from rstore_api.dialling import channels, endpoint
from rstore_api.dialling.channels import Address
from rstore_replica import metrics
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process import composition as server
from rstore_replica.process import live_data, volume
from rstore_replica.raft.group import Group
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.tls import Fingerprints
from sim.network import SimTransport
from sim.process import HostClock
from sim.regions.rpc import SimChannel
from sim.regions.rpc_server import SimServer
from sim.regions.sites import current_host
from sim.regions.wires import Listener, Wires

Find = Callable[[str], Listener | None]
"""The machine that has a host name or an IP address now."""


@contextmanager
def simulated(wires: Wires, find: Find) -> Iterator[None]:
    """For the time of one run."""

    async def open_channel(address: Address, **_: Any) -> SimChannel:
        return SimChannel(wires, find(address.host), address.port)

    shared = _shared_metrics()
    replaced: list[tuple[Any, str, Any]] = [
        (endpoint, "open_channel", open_channel),
        (channels, "open_channel", open_channel),
        (server, "CertificateStore", lambda _directory: _Certificates()),
        (server, "GrpcTransport", lambda *_args, **_kwargs: _transport()),
        (server, "SystemClock", _clock),
        (server, "ReplicationConfig", functools.partial(ReplicationConfig, rewind_step_rows=2)),
        (server, "Group", _group),
        (server, "Metrics", lambda: shared),
        (server, "LiveData", _LiveData),
        (server, "HealthReporter", _Quiet),
        (server, "HttpServer", _Quiet),
        (server, "Watchdog", _Quiet),
        (server, "KnownPeers", _Quiet),
        (server, "client_server", lambda *, services, **_options: _server(services)),
        (server, "peer_server", lambda *, services, **_options: _server(services)),
        (server, "listen", _listen),
        (server, "random", SimpleNamespace(Random=lambda: random.Random(current_host().rng.random()))),
        (volume, "lock_directory", _lock_directory),
    ]
    with ExitStack() as stack:
        for owner, name, value in replaced:
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


class _SharedMetrics(metrics.Metrics):
    def observe(self, reading: object) -> None:
        """Nobody reads them."""


_metrics: list[_SharedMetrics] = []


def _shared_metrics() -> _SharedMetrics:
    if not _metrics:
        _metrics.append(_SharedMetrics())
    return _metrics[0]


class _Certificates:
    """There are none here, and a replica says so."""

    def fingerprints(self) -> Fingerprints:
        return Fingerprints((), b"")

    def __getattr__(self, _name: str) -> Callable[[], None]:
        return lambda: None


class _LiveData(live_data.LiveData):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory, disk=current_host().disk, boot_id=str(current_host().boot))

    def open(self, open_machine: Callable[[], Machine]) -> Machine:
        """The machine knows from which moment on its data is in use."""
        return super().open(functools.partial(current_host().open_machine, open_machine))


class _Quiet:
    """Stands for what nobody outside a pod looks at."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def add_to_server(self, _server: object) -> None:
        pass

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def update(self) -> None:
        pass

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()


def _clock() -> HostClock:
    return current_host().clock


def _transport() -> SimTransport:
    host = current_host()
    assert host.process is not None
    host.transport = SimTransport(host.network, host.process, host.rng.getrandbits(63) | 1)
    return host.transport


def _group(*, config: Any, **rest: Any) -> Group:
    host = current_host()
    return Group(
        **rest,
        config=dataclasses.replace(config, **host.profile.raft),
        disk=host.disk,
        rng=random.Random(host.rng.random()),
    )


def _server(services: Any) -> SimServer:
    made = SimServer(current_host().answered, current_host().call_failed)
    for register in services:
        register(made)
    return made


def _listen(made: SimServer, *, host: str, port: int, certificates: object, require_client_certificate: bool) -> None:
    current_host().ports[port] = made


def _lock_directory(directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    host = current_host()
    host.lock = os.open(os.devnull, os.O_RDONLY)
    return host.lock
