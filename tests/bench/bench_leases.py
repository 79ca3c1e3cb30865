"""Very many leases of one store beside as many of etcd: grants, memory, renewals, the end of many, a change of leader.

``BENCH_LEASES`` says how many (100,000). "all have ended" begins when the first of 10,000 leases ends that end at the
same time: they were granted before a leader that then began. A change of leader is a MoveLeader, and takes until the
new leader says how long a lease lives. Other environment: as ``bench_etcd``. Updates ``build/bench.json``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from bench import calls, contenders
from bench.h2_load import Found, run_apart
from bench.h2_load import Plan as LoadPlan
from bench.results import BUILD, Row, head, row, save, show
from integration.replicas.server_processes import CLIENT_PORT
from rstore_api import methods
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc

LEASES = int(os.environ.get("BENCH_LEASES", "100000"))
AT_ONCE = 10_000
AT_ONCE_SECONDS = 15
LONG_SECONDS = 3600
OUTSTANDING = 64
POLL_SECONDS = 0.05
SHORTEST_SECONDS = 0.4


@contextmanager
def stubs(contender: contenders.Contender) -> Iterator[tuple[rpc_pb2_grpc.LeaseStub, rpc_pb2_grpc.MaintenanceStub]]:
    """Calls of the leader that there is now."""
    credentials = contenders.credentials(contender.tls_directory)
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.secure_channel(f"{contender.leader_host()}:{CLIENT_PORT}", credentials, options) as channel:
        yield (
            rpc_pb2_grpc.LeaseStub(channel),  # type: ignore[no-untyped-call]
            rpc_pb2_grpc.MaintenanceStub(channel),  # type: ignore[no-untyped-call]
        )


def leases(contender: contenders.Contender) -> list[int]:
    """Returns the leases that there are."""
    with stubs(contender) as (lease, _):
        return [each.ID for each in lease.LeaseLeases(rpc_pb2.LeaseLeasesRequest(), timeout=60).leases]


def load(contender: contenders.Contender, method: str, messages: list[bytes], seconds: float) -> Found:
    """Calls of one kind, many at a time."""
    return run_apart(
        LoadPlan.of(
            contender.leader_host(),
            CLIENT_PORT,
            contender.tls_directory,
            method,
            messages,
            connections=4,
            outstanding=OUTSTANDING,
            warmup_seconds=0.0,
            seconds=seconds,
        )
    )


def grant(contender: contenders.Contender, count: int, seconds_to_live: int, seconds: float) -> list[Found]:
    """Has so many leases granted, or a few less."""
    message = rpc_pb2.LeaseGrantRequest(TTL=seconds_to_live).SerializeToString()
    done: list[Found] = []
    left, fastest = count, 1.0
    while not done or left > fastest * SHORTEST_SECONDS * 2:
        chunk_seconds = max(SHORTEST_SECONDS, min(seconds, left / fastest / 2)) if done else SHORTEST_SECONDS
        done.append(load(contender, methods.LEASE_GRANT.path, [message], chunk_seconds))
        fastest = max(fastest, done[-1].calls_per_second)
        left -= done[-1].calls + OUTSTANDING
    return done


def leader_changed(contender: contenders.Contender, lease: int) -> float:
    """Seconds from a MoveLeader until the new leader says how long a lease lives."""
    before = contender.leader_host()
    credentials = contenders.credentials(contender.tls_directory)
    with grpc.secure_channel(f"{before}:{CLIENT_PORT}", credentials) as channel:
        maintenance = rpc_pb2_grpc.MaintenanceStub(channel)  # type: ignore[no-untyped-call]
        cluster = rpc_pb2_grpc.ClusterStub(channel)  # type: ignore[no-untyped-call]
        leader = maintenance.Status(rpc_pb2.StatusRequest(), timeout=5).leader
        members = cluster.MemberList(rpc_pb2.MemberListRequest(), timeout=5).members
        target = next(member.ID for member in members if leader != member.ID)
        began = time.monotonic()
        maintenance.MoveLeader(rpc_pb2.MoveLeaderRequest(targetID=target), timeout=30)
    while (after := contender.leader_host()) == before:
        time.sleep(POLL_SECONDS)
    with grpc.secure_channel(f"{after}:{CLIENT_PORT}", credentials) as channel:
        stub = rpc_pb2_grpc.LeaseStub(channel)  # type: ignore[no-untyped-call]
        while True:
            try:
                stub.LeaseTimeToLive(rpc_pb2.LeaseTimeToLiveRequest(ID=lease), timeout=30)
            except grpc.RpcError:
                time.sleep(POLL_SECONDS)
            else:
                return time.monotonic() - began


def all_ended(contender: contenders.Contender, seconds: float) -> float:
    """Seconds from the end of the first of many leases, which all end at the same time, to that of the last."""
    grant(contender, AT_ONCE, AT_ONCE_SECONDS, seconds)
    leader_changed(contender, 1)
    with stubs(contender) as (lease, _):
        most, first_at = 0, 0.0
        while True:
            count = len(lease.LeaseLeases(rpc_pb2.LeaseLeasesRequest(), timeout=60).leases)
            now = time.monotonic()
            most = max(most, count)
            if count < most and not first_at:
                first_at = now
            if not count:
                return now - first_at
            time.sleep(POLL_SECONDS)


def _seconds(found: Found) -> float:
    return found.calls / found.calls_per_second


def measured(contender: contenders.Contender, seconds: float) -> dict[str, float]:
    """Everything, once."""
    processes = contender.processes()
    ended = all_ended(contender, seconds)
    few = leader_changed(contender, 1)
    memory, used = contenders.memory_mib(processes), contenders.cpu_seconds(processes)
    grants = grant(contender, LEASES, LONG_SECONDS, seconds)
    used = contenders.cpu_seconds(processes) - used
    ids = leases(contender)
    memory = contenders.memory_mib(processes) - memory
    renewals = [rpc_pb2.LeaseKeepAliveRequest(ID=lease).SerializeToString() for lease in ids[:20_000]]
    return {
        "granted": len(ids),
        "grants, calls/s": sum(each.calls for each in grants) / sum(map(_seconds, grants)),
        "grants, CPU µs/call": 1e6 * used / len(ids),
        "memory of one, KiB": 1024 * memory / len(ids),
        "renewals, calls/s": load(contender, calls.KEEP_ALIVE, renewals, seconds).calls_per_second,
        f"{AT_ONCE} at once, s": ended,
        "change of leader without leases, s": few,
        "change of leader, s": leader_changed(contender, ids[0]),
    }


def main() -> None:
    """The whole run."""
    seconds = float(os.environ.get("BENCH_SECONDS", "2"))
    BUILD.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD))
    rows: list[Row] = []
    try:
        head()
        with contenders.running(directory, None) as servers:
            mine, *others = [(server.name, measured(server, seconds)) for server in servers]
            for what, value in mine[1].items():
                name, _, unit = f"{LEASES} leases, {what}".rpartition(", ")
                for peer, theirs in others:
                    less = "calls/s" not in unit
                    rows.append(row(name, unit, [value], peer, [theirs[what]], less_is_better=less))
                    show(rows[-1])
    finally:
        shutil.rmtree(directory)
    save(rows)


if __name__ == "__main__":
    main()
