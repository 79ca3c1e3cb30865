"""Throughput and latency of one region's three replicas beside three members of etcd, and beside stock PySyncObj.

All run at the same time on this machine and file system, with mutual TLS on every connection and with syncs to disk
(but for PySyncObj, which has neither TLS nor syncs nor an API: its line shows what the consensus alone does). The load
takes turns between them, a few seconds each, several rounds; figures are medians of the rounds, the ratio is the median
of the rounds' ratios, and above 1 means that ours is better. The load goes to the leader. The lines in "CPU ms/call"
are what all three members used for a call: on a machine that does other things as well they are the steadiest.

Last come long ranges, of keys that are put for them, ``BENCH_RANGE_KEYS`` (default a million).

Environment: ``BENCH_SECONDS`` (of each measurement, default 2), ``BENCH_ROUNDS`` (default 3), ``BENCH_ONLY`` (only
cells with this in the name), ``BENCH_OTHER`` (another checkout's ``replica_image``, measured too, as "other"; a cell
whose method it does not have is measured without it).
Updates ``build/bench.json``: a list of {name, ours, peer, peer_name, ratio, unit}.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import grpc
from bench import calls, contenders, stock_pysyncobj
from bench.h2_load import Found, Plan, run_apart
from bench.results import BUILD, Row, head, row, save, show, wanted
from integration.replicas.server_processes import CLIENT_PORT
from rstore_api.proto import rpc_pb2_grpc

WARMUP_SECONDS = 0.4
CONNECTIONS = 4
FILL_OUTSTANDING = 64


@dataclass(frozen=True)
class Cell:
    """One kind of load. ``by_latency``: compared by the median latency instead of the calls per second."""

    name: str
    method: str
    messages: list[bytes]
    outstanding: int
    by_latency: bool = False
    command_bytes: int = 0
    """Size of PySyncObj's commands; 0: there is nothing of the kind in it."""
    least_seconds: float = 0.0
    """Of each measurement."""


def cells() -> list[Cell]:
    """Everything that is measured. The transactions come first: they write every key."""
    puts, txns = calls.puts(), calls.txns()
    put_bytes, txn_bytes = len(puts[0]), len(txns[0])
    linearizable, serializable = calls.reads(serializable=False), calls.reads(serializable=True)
    return [
        Cell("txn of 64 puts, 1 outstanding", calls.TXN, txns, 1, True, txn_bytes),
        Cell("txn of 64 puts, 64 outstanding", calls.TXN, txns, 64, False, txn_bytes),
        Cell("put, 1 outstanding", calls.PUT, puts, 1, True, put_bytes),
        Cell("put, 64 outstanding", calls.PUT, puts, 64, False, put_bytes),
        Cell("linearizable read, 64 outstanding", calls.RANGE, linearizable, 64),
        Cell("serializable read, 64 outstanding", calls.RANGE, serializable, 64),
        Cell("lease keep-alive, 64 outstanding", calls.KEEP_ALIVE, calls.keep_alives(), 64),
    ]


def range_cells(keys: int) -> list[Cell]:
    """Ranges among ``keys`` keys, which have to be there."""
    return [
        Cell(f"count of {keys} keys, 1 outstanding", calls.RANGE, calls.counts(), 1, True, least_seconds=5.0),
        Cell(
            f"page of {calls.PAGE_KEYS} among {keys} keys, 1 outstanding",
            calls.RANGE,
            calls.pages(keys),
            1,
            True,
            least_seconds=5.0,
        ),
    ]


def serves(contender: contenders.Contender, cell: Cell) -> bool:
    """Returns whether the contender has the cell's method; another checkout may be older than that."""
    target = f"{contender.leader_host()}:{CLIENT_PORT}"
    with grpc.secure_channel(target, contenders.credentials(contender.tls_directory)) as channel:
        try:
            channel.unary_unary(cell.method)(cell.messages[0], timeout=30)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return False
            raise
    return True


def grant_leases(contender: contenders.Contender) -> None:
    """Grants the leases that are renewed."""
    target = f"{contender.leader_host()}:{CLIENT_PORT}"
    with grpc.secure_channel(target, contenders.credentials(contender.tls_directory)) as channel:
        stub = rpc_pb2_grpc.LeaseStub(channel)  # type: ignore[no-untyped-call]
        for call in [stub.LeaseGrant.future(request, timeout=30) for request in calls.lease_grants()]:
            call.result()


def fill(contender: contenders.Contender, keys: int) -> None:
    """Puts the keys of long ranges."""
    target = f"{contender.leader_host()}:{CLIENT_PORT}"
    with grpc.secure_channel(target, contenders.credentials(contender.tls_directory)) as channel:
        txn = rpc_pb2_grpc.KVStub(channel).Txn  # type: ignore[no-untyped-call]
        under_way: deque[grpc.Future] = deque()
        for request in calls.range_txns(keys):
            under_way.append(txn.future(request, timeout=30))
            if len(under_way) > FILL_OUTSTANDING:
                under_way.popleft().result()
        for call in under_way:
            call.result()


@dataclass(frozen=True)
class Measured:
    """One measurement of one contender."""

    found: Found
    cpu_ms: float
    """What all members used for a call."""

    def figure(self, cell: Cell) -> float:
        """What is compared."""
        return self.found.median_ms if cell.by_latency else self.found.calls_per_second


def load(contender: contenders.Contender, cell: Cell, seconds: float) -> Measured:
    """Puts the load on the contender's leader, from a process of its own."""
    plan = Plan.of(
        contender.leader_host(),
        CLIENT_PORT,
        contender.tls_directory,
        cell.method,
        cell.messages,
        connections=min(CONNECTIONS, cell.outstanding),
        outstanding=cell.outstanding,
        warmup_seconds=WARMUP_SECONDS,
        seconds=seconds,
    )
    before = contenders.cpu_seconds(contender.processes())
    found = run_apart(plan)
    used = contenders.cpu_seconds(contender.processes()) - before
    return Measured(found, 1e3 * used / found.calls)


def measure(cell: Cell, servers: list[contenders.Contender], stock: stock_pysyncobj.Members) -> list[Row]:
    """All rounds of one kind of load."""
    seconds = max(float(os.environ.get("BENCH_SECONDS", "2")), cell.least_seconds)
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    absent = [server for server in servers if not serves(server, cell)]
    servers = [server for server in servers if server not in absent]
    for server in absent:
        print(f"{cell.name:44} ({server.name} is left out: it has no {cell.method})", flush=True)
    measured: dict[str, list[Measured]] = {server.name: [] for server in servers}
    raw: list[float] = []
    for number in range(rounds):
        # Every second round the other way round, so that nobody always comes after the same one.
        for server in servers if number % 2 == 0 else reversed(servers):
            measured[server.name].append(load(server, cell, seconds))
        if cell.command_bytes:
            answer = stock.measure(cell.command_bytes, cell.outstanding, WARMUP_SECONDS, seconds)
            raw.append(answer["median_ms" if cell.by_latency else "calls_per_second"])
    ours = measured.pop("ours")
    figures, cpu = [item.figure(cell) for item in ours], [item.cpu_ms for item in ours]
    unit, less = ("ms", True) if cell.by_latency else ("calls/s", False)
    rows = []
    for name, peer in measured.items():
        rows.append(row(cell.name, unit, figures, name, [item.figure(cell) for item in peer], less_is_better=less))
        rows.append(row(cell.name, "CPU ms/call", cpu, name, [item.cpu_ms for item in peer], less_is_better=True))
    if raw:
        rows.append(row(cell.name, unit, figures, "pysyncobj", raw, less_is_better=less))
    busiest = max(item.found.client_load for items in (ours, *measured.values()) for item in items)
    for line in rows:
        show(line)
    if busiest > 0.8:
        print(f"{'':44} (the client used {busiest:.0%} of a CPU: it may be what is measured)", flush=True)
    return rows


def main() -> None:
    """The whole run."""
    other = os.environ.get("BENCH_OTHER")
    chosen = [cell for cell in cells() if wanted(cell.name)]
    range_keys = int(os.environ.get("BENCH_RANGE_KEYS", "1000000"))
    ranges = [cell for cell in range_cells(range_keys) if wanted(cell.name)]
    if not chosen and not ranges:
        return
    BUILD.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD))
    rows: list[Row] = []
    try:
        head()
        with (
            contenders.running(directory, Path(other) if other else None) as servers,
            stock_pysyncobj.running(directory / "pysyncobj") as stock,
        ):
            renewals = next((cell for cell in chosen if cell.method == calls.KEEP_ALIVE), None)
            for server in servers if renewals else ():
                if serves(server, renewals):
                    grant_leases(server)
            for cell in chosen:
                rows += measure(cell, servers, stock)
            for server in servers if ranges else ():
                fill(server, range_keys)
            for cell in ranges:
                rows += measure(cell, servers, stock)
    finally:
        shutil.rmtree(directory)
    save(rows)


if __name__ == "__main__":
    main()
