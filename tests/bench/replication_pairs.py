"""What is compared across regions: a source and a target, one process each, and a relay of ours between them.

The relay delays what passes; while it is gone the target gets nothing, so that a backlog can be made.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import grpc
from bench.contenders import Etcd, credentials, stop
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import CLIENT_PORT, PEER_PORT, STORE_ID, RegionProcesses, topology
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc, rstore_pb2, rstore_pb2_grpc

_START_SECONDS = 60.0
_POLL_SECONDS = 0.02
_GRANT_SECONDS = 0.4


class Pair(Protocol):
    """Something that copies what is written to one server to another."""

    name: str
    tls_directory: Path
    """A client's certificates, for both."""
    backlog_rows_per_revision: int
    """How much one revision of the target brings while it gets what was written before, in rows."""

    def start(self) -> None:
        """Starts both servers, without a link between them."""

    def source_host(self) -> str:
        """Where the source listens for clients, on CLIENT_PORT."""

    def target_host(self) -> str:
        """Where the target does; asked directly, not through the relay."""

    def link(self, delay_ms: float) -> None:
        """Lets the copying begin: the relay is there, each way takes ``delay_ms``."""

    def cut(self) -> None:
        """Ends it."""

    def close(self) -> None:
        """Ends what is no process."""

    def processes(self) -> list[subprocess.Popen[bytes]]:
        """All that take part, but for the relay."""


class _RelayProcess:
    """The relay in front of one port, always at the same port of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._target = f"{host}:{port}"
        with socket.socket() as probe:
            probe.bind((host, 0))
            self.address = f"{host}:{probe.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, delay_ms: float) -> None:
        arguments = [f"--listen={self.address}", f"--to={self._target}", f"--delay-ms={delay_ms}"]
        command = [sys.executable, "-m", "localkube.links", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith(b"listening"):
            raise RuntimeError("the relay did not start")

    def stop(self) -> None:
        if self._process is not None:
            stop([self._process])
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


class _Witness:
    """Grants the source's tenure as the operator does for a store of two regions."""

    def __init__(self, host: str, tls_directory: Path) -> None:
        self._channel = grpc.secure_channel(f"{host}:{PEER_PORT}", credentials(tls_directory))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness")
        self._thread.start()

    def _run(self) -> None:
        admin = rstore_pb2_grpc.AdminStub(self._channel)  # type: ignore[no-untyped-call]
        while not self._stopped.wait(_GRANT_SECONDS):
            try:
                status = admin.Status(rstore_pb2.StatusRequest(), timeout=2)
                if status.tenure.witness_round:
                    grant = {"epoch": status.epoch, "round": status.tenure.witness_round}
                    admin.WitnessGrant(rstore_pb2.WitnessGrantRequest(store_id=STORE_ID, **grant), timeout=2)
            except grpc.RpcError:
                continue

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._channel.close()


class OurPair:
    """Two regions of one replica each, with the product's defaults; the first is primary."""

    name = "ours"
    backlog_rows_per_revision = 0

    def __init__(self, directory: Path, authority: Authority, *, rows_per_revision: int, **settings: object) -> None:
        raft = {"electionTimeoutMinMs": 1000, "electionTimeoutMaxMs": 2000, "heartbeatMs": 100}
        self._regions = [
            RegionProcesses(directory, authority, region=name, replicas=1, raft=raft, **settings)
            for name in ("source", "target")
        ]
        self.backlog_rows_per_revision = rows_per_revision
        self.tls_directory = self._regions[0].directory / "client"
        self._operator = self._regions[0].directory / "operator"
        self._witness: _Witness | None = None
        self._topology = rstore_pb2.Topology()
        self._relays = [_RelayProcess(region.replicas[0].host, PEER_PORT) for region in self._regions]

    def start(self) -> None:
        where = self._topology = topology("source", *self._regions)
        for region, relay in zip(where.regions, self._relays, strict=True):
            region.replicas[0].peer_address = relay.address
        for region in self._regions:
            region.start()
        for region in self._regions:
            replica = region.replicas[0]
            with grpc.secure_channel(f"{replica.host}:{PEER_PORT}", credentials(region.directory / "operator")) as to:
                admin = rstore_pb2_grpc.AdminStub(to)  # type: ignore[no-untyped-call]
                _until(lambda admin=admin: admin.Status(rstore_pb2.StatusRequest(), timeout=2).is_leader, replica.name)
                admin.Bootstrap(rstore_pb2.BootstrapRequest(store_id=STORE_ID, topology=where), timeout=10)
        self._witness = _Witness(self.source_host(), self._operator)
        with grpc.secure_channel(f"{self.source_host()}:{PEER_PORT}", credentials(self._operator)) as to:
            admin = rstore_pb2_grpc.AdminStub(to)  # type: ignore[no-untyped-call]
            _until(lambda: admin.Status(rstore_pb2.StatusRequest(), timeout=2).writable, "the tenure")

    def sync(self, rule: rstore_pb2.SyncRule | None) -> None:
        """Puts the rule of acknowledging in force; None is Async."""
        self._topology.version += 1
        self._topology.ClearField("sync")
        if rule is not None:
            self._topology.sync.CopyFrom(rule)
        with grpc.secure_channel(f"{self.source_host()}:{PEER_PORT}", credentials(self._operator)) as to:
            admin = rstore_pb2_grpc.AdminStub(to)  # type: ignore[no-untyped-call]
            admin.SetTopology(rstore_pb2.SetTopologyRequest(store_id=STORE_ID, topology=self._topology), timeout=10)
            _until(
                lambda: admin.Status(rstore_pb2.StatusRequest(), timeout=2).HasField("sync") == (rule is not None),
                "the rule",
            )

    def source_host(self) -> str:
        return self._regions[0].replicas[0].host

    def target_host(self) -> str:
        return self._regions[1].replicas[0].host

    def link(self, delay_ms: float) -> None:
        for relay in self._relays:
            relay.start(delay_ms)

    def cut(self) -> None:
        for relay in self._relays:
            relay.stop()

    def close(self) -> None:
        if self._witness is not None:
            self._witness.stop()

    def processes(self) -> list[subprocess.Popen[bytes]]:
        return [item.process for region in self._regions for item in region.replicas if item.process is not None]


class EtcdPair:
    """Two etcds of one member each; ``etcdctl make-mirror`` runs beside the source."""

    name = "make-mirror"
    backlog_rows_per_revision = 1

    def __init__(self, directory: Path, authority: Authority) -> None:
        self._servers = [Etcd(directory / name, authority, members=1) for name in ("source", "target")]
        self.tls_directory = self._servers[0].tls_directory
        self._relay: _RelayProcess | None = None
        self._mirror: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for server in self._servers:
            server.start()
        self._relay = _RelayProcess(self.target_host(), CLIENT_PORT)

    def source_host(self) -> str:
        return self._servers[0].leader_host()

    def target_host(self) -> str:
        return self._servers[1].leader_host()

    def link(self, delay_ms: float) -> None:
        assert self._relay is not None
        self._relay.start(delay_ms)
        files = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
        flags = [f"--{flag}={self.tls_directory / name}" for flag, name in files.items()]
        flags += [f"--dest-{flag}={self.tls_directory / name}" for flag, name in files.items()]
        self._mirror = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("etcdctl")),
                "make-mirror",
                *flags,
                f"--endpoints=https://{self.source_host()}:{CLIENT_PORT}",
                "--dest-insecure-transport=false",
                f"https://{self._relay.address}",
            ],
            env={key: value for key, value in os.environ.items() if not key.startswith("ETCDCTL_")},
            stdout=subprocess.DEVNULL,
        )

    def cut(self) -> None:
        if self._mirror is not None:
            stop([self._mirror])
            self._mirror = None
        if self._relay is not None:
            self._relay.stop()

    def close(self) -> None:
        """See :meth:`Pair.close`."""

    def processes(self) -> list[subprocess.Popen[bytes]]:
        mirror = [self._mirror] if self._mirror is not None else []
        return [*mirror, *(process for server in self._servers for process in server.processes())]


def _until(probe: object, what: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            if probe():  # type: ignore[operator]
                return
        except grpc.RpcError:
            pass
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"{what} was not ready within {_START_SECONDS:g} s")


class Position:
    """How far a server is, by its own answer."""

    def __init__(self, host: str, tls_directory: Path) -> None:
        self._channel = grpc.secure_channel(f"{host}:{CLIENT_PORT}", credentials(tls_directory))
        self._kv = rpc_pb2_grpc.KVStub(self._channel)  # type: ignore[no-untyped-call]

    def revision(self) -> int:
        """The newest revision it has applied."""
        request = rpc_pb2.RangeRequest(key=b"\0", serializable=True)
        return int(self._kv.Range(request, timeout=10).header.revision)

    def write(self, method: str, message: bytes) -> None:
        """One call with a serialised request."""
        self._channel.unary_unary(method)(message, timeout=10)  # type: ignore[call-arg]

    def wait_for(self, revision: int, timeout_seconds: float) -> bool:
        """Whether it gets there in time."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self.revision() >= revision:
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()


@contextmanager
def running(pair: Pair) -> Iterator[tuple[Position, Position]]:
    """Starts both servers; where source and target are. None of the processes outlives the block."""
    with ExitStack() as cleanup:
        cleanup.callback(lambda: stop(pair.processes()))
        cleanup.callback(pair.cut)
        cleanup.callback(pair.close)
        pair.start()
        positions = [Position(host, pair.tls_directory) for host in (pair.source_host(), pair.target_host())]
        for position in positions:
            cleanup.callback(position.close)
        yield positions[0], positions[1]


def interrupt_as_error() -> None:
    """SIGTERM unwinds as an interrupt does, so that no process is left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
