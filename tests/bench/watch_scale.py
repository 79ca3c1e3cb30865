"""Very many watches of one replica: what they cost while nothing happens, and when all of them have seen what does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import grpc
from bench import calls, contenders
from bench.h2_load import Plan as LoadPlan
from bench.h2_load import run_apart
from bench.results import Row, row
from bench.watch_load import Plan, Watching, stamp
from integration.replicas.server_processes import CLIENT_PORT
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc

CONNECTIONS = 10
PUTS = 5
PAUSE_SECONDS = 1.0
"""Between two puts, so that all have seen the one before."""
BEHIND = 1000
MISSED = 100
"""So many watches begin at a revision so many puts ago."""
_PREFIX = "scale/"


def _plan(contender: contenders.Contender, watches: int, streams: int, prefix: str = _PREFIX) -> Plan:
    tls = str(contender.tls_directory)
    connections = min(streams, CONNECTIONS)
    return Plan(contender.leader_host(), CLIENT_PORT, tls, watches, prefix, streams=streams, connections=connections)


def _put(contender: contenders.Contender, count: int, pause_seconds: float) -> int:
    """Puts a key so often; returns the revision of the first."""
    credentials = contenders.credentials(contender.tls_directory)
    first = 0
    with grpc.secure_channel(f"{contender.leader_host()}:{CLIENT_PORT}", credentials) as channel:
        kv = rpc_pb2_grpc.KVStub(channel)  # type: ignore[no-untyped-call]
        for _ in range(count):
            time.sleep(pause_seconds)
            response = kv.Put(rpc_pb2.PutRequest(key=f"{_PREFIX}key".encode(), value=stamp()), timeout=30)
            first = first or response.header.revision
    return first


def begun_and_seen(contender: contenders.Contender, watches: int, streams: int) -> dict[str, float]:
    """Seconds until all have begun, KiB of memory for each, and ms until all have seen a put, the slowest of some."""
    processes = contender.processes()
    before = contenders.memory_mib(processes)
    with Watching(replace(_plan(contender, watches, streams), events=PUTS * watches)) as watching:
        memory = contenders.memory_mib(processes) - before
        used = contenders.cpu_seconds(processes)
        _put(contender, PUTS, PAUSE_SECONDS)
        found = watching.wait()
        used = contenders.cpu_seconds(processes) - used
    return {
        "all begun, s": found.created_seconds,
        "memory of one, KiB": 1024 * memory / watches,
        "all have seen a put, ms": found.max_ms,
        "CPU of one event, µs": 1e6 * used / found.events,
    }


def resynced(contender: contenders.Contender) -> float:
    """Seconds until watches that begin in the past have been shown all since then."""
    first = _put(contender, MISSED, 0.0)
    plan = replace(_plan(contender, BEHIND, 1), start_revision=first, events=BEHIND * MISSED)
    with Watching(plan) as watching:
        return watching.wait().seconds


def lone_put_ms(contender: contenders.Contender, seconds: float) -> float:
    """How long a put takes while there is no other."""
    plan = LoadPlan.of(
        contender.leader_host(),
        CLIENT_PORT,
        contender.tls_directory,
        calls.PUT,
        calls.puts(),
        connections=1,
        outstanding=1,
        warmup_seconds=0.4,
        seconds=seconds,
    )
    return run_apart(plan).median_ms


def rows(servers: Sequence[contenders.Contender], watches: int, seconds: float, rounds: int) -> Iterator[Row]:
    """The whole measurement, ours beside the others."""
    ours, *peers = servers
    for streams in (1, watches // 10):
        found = {server.name: [begun_and_seen(server, watches, streams) for _ in range(rounds)] for server in servers}
        for what in found[ours.name][0]:
            name, _, unit = f"{watches} watches, {streams} streams, {what}".rpartition(", ")
            figures = {server: [each[what] for each in items] for server, items in found.items()}
            for peer in peers:
                yield row(name, unit, figures[ours.name], peer.name, figures[peer.name], less_is_better=True)
    # A stream for each watch: etcd 3.5 takes no more connections while so many begin at once.
    for what, value in begun_and_seen(ours, watches, watches).items():
        name, _, unit = f"{watches} watches, {watches} streams, {what}".rpartition(", ")
        yield Row(name, round(value, 3), 0.0, "", 0.0, unit)
    resyncs = {server.name: [resynced(server) for _ in range(rounds)] for server in servers}
    for peer in peers:
        name = f"{BEHIND} watches, {MISSED} puts behind"
        yield row(name, "s", resyncs[ours.name], peer.name, resyncs[peer.name], less_is_better=True)
    alone, beside = [], []
    for _ in range(rounds):
        alone.append(lone_put_ms(ours, seconds))
        with Watching(_plan(ours, watches, watches, "nothing/")) as watching:
            beside.append(lone_put_ms(ours, seconds))
            watching.end()
    yield row(f"lone put, {watches} idle watches", "ms", beside, "none", alone, less_is_better=True)
