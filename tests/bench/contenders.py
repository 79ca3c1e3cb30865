"""The servers that are compared: each three processes on own loopback addresses, with mutual TLS everywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import grpc
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import (
    CLIENT_PORT,
    PEER_PORT,
    STORE_ID,
    RegionProcesses,
    free_loopback_address,
    topology,
)
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc, rstore_pb2, rstore_pb2_grpc

MEMBERS = 3
_START_SECONDS = 180.0


class Contender(Protocol):
    """Something that speaks etcd's API."""

    name: str
    tls_directory: Path
    """The client's ca.crt, tls.crt and tls.key."""

    def start(self) -> None:
        """Starts its members; ready for calls once :meth:`leader_host` returns."""

    def leader_host(self) -> str:
        """Where its leader listens for clients, on CLIENT_PORT."""

    def processes(self) -> list[subprocess.Popen[bytes]]:
        """Its members."""


def credentials(directory: Path) -> grpc.ChannelCredentials:
    """The files as gRPC has them."""
    ca, key, chain = (directory.joinpath(name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    return grpc.ssl_channel_credentials(ca, key, chain)


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ends them, by their ids, and waits until they are gone."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
    for process in processes:
        process.wait()


def cpu_seconds(processes: list[subprocess.Popen[bytes]]) -> float:
    """What they have used of CPUs so far; 0 where the system does not tell in ``/proc``."""
    ticks = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mib(processes: list[subprocess.Popen[bytes]]) -> float:
    """The memory that they have, which the system could not give to others; 0 where it does not tell in ``/proc``."""
    kib = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            return 0.0
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return kib / 1024


class Ours:
    """The replicas of one region, bootstrapped as primary, with the product's defaults."""

    def __init__(
        self, directory: Path, authority: Authority, *, name: str, source: Path | None, members: int = MEMBERS
    ) -> None:
        """``source`` is another checkout's ``replica_image``; None: this one's."""
        self.name = name
        self.region = RegionProcesses(
            directory,
            authority,
            region=name,
            replicas=members,
            raft={"electionTimeoutMinMs": 1000, "electionTimeoutMaxMs": 2000, "heartbeatMs": 100},
        )
        self.tls_directory = self.region.directory / "client"
        self._source = source

    def start(self) -> None:
        before = os.environ.get("PYTHONPATH")
        if self._source is not None:
            os.environ["PYTHONPATH"] = str(self._source)
        try:
            self.region.start()
        finally:
            if before is None:
                os.environ.pop("PYTHONPATH", None)
            else:
                os.environ["PYTHONPATH"] = before
        request = rstore_pb2.BootstrapRequest(store_id=STORE_ID, topology=topology(self.region.region, self.region))
        with self._channel(self.leader_host()) as channel:
            rstore_pb2_grpc.AdminStub(channel).Bootstrap(request, timeout=10)  # type: ignore[no-untyped-call]

    def processes(self) -> list[subprocess.Popen[bytes]]:
        return [replica.process for replica in self.region.replicas if replica.process is not None]

    def leader_host(self) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for replica in self.region.replicas:
                if replica.process is None or replica.process.poll() is not None:
                    raise RuntimeError(f"{replica.name} ended:\n{replica.log_text()[-2000:]}")
                with self._channel(replica.host) as channel:
                    admin = rstore_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
                    try:
                        if admin.Status(rstore_pb2.StatusRequest(), timeout=2).is_leader:
                            return replica.host
                    except grpc.RpcError:
                        pass
            time.sleep(0.1)
        raise RuntimeError(f"{self.name}: no leader within {_START_SECONDS:g} s")

    def _channel(self, host: str) -> grpc.Channel:
        return grpc.secure_channel(f"{host}:{PEER_PORT}", credentials(self.region.directory / "operator"))


class Etcd:
    """Members of etcd, with etcd's defaults."""

    name = "etcd"

    def __init__(self, directory: Path, authority: Authority, *, members: int = MEMBERS) -> None:
        self._directory = directory
        self._members = members
        self._authority = authority
        self._hosts: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self.tls_directory = directory / "client"
        authority.issue(self.tls_directory, "client")

    def start(self) -> None:
        self._hosts = [free_loopback_address() for _ in range(self._members)]
        cluster = ",".join(f"m{at}=https://{host}:{PEER_PORT}" for at, host in enumerate(self._hosts))
        for at, host in enumerate(self._hosts):
            own = self._directory / f"m{at}"
            self._authority.issue(own / "tls", "peer", addresses=(host,))
            with (own / "log").open("wb") as log:
                arguments = self._arguments(f"m{at}", host, own, cluster)
                self._processes.append(subprocess.Popen(arguments, stdout=log, stderr=log))

    def _arguments(self, name: str, host: str, own: Path, cluster: str) -> list[str]:
        client, peer = f"https://{host}:{CLIENT_PORT}", f"https://{host}:{PEER_PORT}"
        arguments = [
            str(Path(sys.executable).with_name("etcd")),
            f"--name={name}",
            f"--data-dir={own / 'data'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={cluster}",
            "--log-level=error",
        ]
        for side in ("", "peer-"):
            arguments += [
                f"--{side}cert-file={own / 'tls' / 'tls.crt'}",
                f"--{side}key-file={own / 'tls' / 'tls.key'}",
                f"--{side}trusted-ca-file={own / 'tls' / 'ca.crt'}",
                f"--{side}client-cert-auth",
            ]
        return arguments

    def processes(self) -> list[subprocess.Popen[bytes]]:
        return self._processes

    def leader_host(self) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for host in self._hosts:
                with grpc.secure_channel(f"{host}:{CLIENT_PORT}", credentials(self.tls_directory)) as channel:
                    maintenance = rpc_pb2_grpc.MaintenanceStub(channel)  # type: ignore[no-untyped-call]
                    try:
                        status = maintenance.Status(rpc_pb2.StatusRequest(), timeout=2)
                    except grpc.RpcError:
                        continue
                if status.leader and status.leader == status.header.member_id:
                    return host
            time.sleep(0.1)
        raise RuntimeError(f"etcd: no leader within {_START_SECONDS:g} s")


@contextmanager
def running(directory: Path, other_source: Path | None) -> Iterator[list[Contender]]:
    """Ours first, etcd next, then ours of another checkout, if wanted. None of their processes outlives the block."""
    authority = Authority.make("bench-ca")
    contenders: list[Contender] = [
        Ours(directory, authority, name="ours", source=None),
        Etcd(directory / "etcd", authority),
    ]
    if other_source is not None:
        contenders.append(Ours(directory, authority, name="other", source=other_source))
    try:
        for contender in contenders:
            contender.start()
        yield contenders
    finally:
        for contender in contenders:
            stop(contender.processes())
