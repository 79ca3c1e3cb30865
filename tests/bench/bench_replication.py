"""Replication from one region to another beside ``etcdctl make-mirror`` from one etcd to another, over the same relay.

One process on each side, mutual TLS, syncs to disk, the defaults of both. The relay delays each way by half of the
round trip. Measured at 0 ms and at 100 ms:

- *backlog*: what was written while there was no link, in rows/s from when the first of it arrives, and the CPU time
  that source, target and mirror used for a row;
- *under load*: what arrives while the source is written to as fast as it takes it, in rows/s;
- *lag p99*: from a write's acknowledgement at the source until a read at the target shows it, at half of that rate.

All is written in transactions of 64 puts of 128 bytes. Rows are puts. A ratio above 1 means that ours is better; the
lines whose peer is "ours, 0 ms" compare ours with itself. Load and measuring take CPU time from both sides alike.

Environment: ``BENCH_SECONDS`` (of each measurement, default 2; here twice that), ``BENCH_ROUNDS`` (default 3),
``BENCH_ONLY``. Updates ``build/bench.json``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import calls, contenders, lag_meter
from bench.h2_load import Plan
from bench.replication_pairs import EtcdPair, OurPair, Pair, Position, interrupt_as_error, running
from bench.results import BUILD, TESTS, Row, head, row, save, show, wanted
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import CLIENT_PORT

ROUND_TRIPS_MS = (0, 100)
OUTSTANDING = 16
SETTLE_SECONDS = 60.0
ARRIVAL_SECONDS = 20.0
PREFIX, BACKLOG, LOAD, LAG = "replication", "backlog", "under load", "lag p99 at half rate"


@dataclass
class Figures:
    """One pair's results at one round trip, a value for each round."""

    backlog: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)


def start_load(pair: Pair, messages: list[bytes], seconds: float) -> subprocess.Popen[bytes]:
    """Transactions as fast as the source takes them, from a process of its own."""
    plan = Plan.of(
        pair.source_host(),
        CLIENT_PORT,
        pair.tls_directory,
        calls.TXN,
        messages,
        connections=4,
        outstanding=OUTSTANDING,
        warmup_seconds=0.0,
        seconds=seconds,
    )
    load = subprocess.Popen(
        [sys.executable, "-m", "bench.h2_load"], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert load.stdin is not None
    load.stdin.write(json.dumps(asdict(plan)).encode())
    load.stdin.close()
    return load


def end_load(load: subprocess.Popen[bytes]) -> None:
    """Waits until it has ended."""
    assert load.stdout is not None
    load.stdout.read()
    load.stdout.close()
    if load.wait():
        raise SystemExit("the load failed")


def rate_of(target: Position, seconds: float, *, until: int | None = None) -> float:
    """Revisions per second that arrive in ``seconds`` from the first one on, or until the target has that revision."""
    start = target.revision()
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while (first := target.revision()) == start:
        if time.monotonic() > deadline:
            return 0.0
        time.sleep(0.002)
    begun, newest = time.monotonic(), first
    while time.monotonic() - begun < seconds and (until is None or newest < until):
        time.sleep(0.01)
        newest = target.revision()
    return (newest - first) / (time.monotonic() - begun)


def backlog(pair: Pair, round_trip_ms: float, seconds: float, messages: list[bytes]) -> tuple[float, float]:
    """Rows per second of what was written before there was a link, and the CPU time of a row on all sides, in us."""
    with running(pair) as (source, target):
        end_load(start_load(pair, messages, 2 * seconds))
        pair.link(round_trip_ms / 2)
        before, used = target.revision(), contenders.cpu_seconds(pair.processes())
        until = source.revision() if pair.backlog_rows_per_revision > 1 else None
        rate = rate_of(target, seconds * 3, until=until) * pair.backlog_rows_per_revision
        used = contenders.cpu_seconds(pair.processes()) - used
        rows = (target.revision() - before) * pair.backlog_rows_per_revision
        return rate, 1e6 * used / max(1, rows)


def under_load(pair: Pair, round_trip_ms: float, seconds: float, messages: list[bytes]) -> float:
    """Transactions per second that arrive while the source is written to without pause."""
    with running(pair) as (source, target):
        warm_up(pair, round_trip_ms, source, target)
        load = start_load(pair, messages, seconds)
        arrived = rate_of(target, seconds * 0.9)
        end_load(load)
        return arrived


def lag(pair: Pair, round_trip_ms: float, seconds: float, messages: list[bytes], rate: float) -> lag_meter.Lag:
    """How long transactions take at that rate."""
    with running(pair) as (source, target):
        warm_up(pair, round_trip_ms, source, target)
        return asyncio.run(_lag(pair, messages, rate, seconds))


async def _lag(pair: Pair, messages: list[bytes], rate: float, seconds: float) -> lag_meter.Lag:
    target = lag_meter.RegionTarget(pair.target_host(), pair.tls_directory)
    try:
        return await lag_meter.measure(
            pair.source_host(),
            pair.tls_directory,
            calls.TXN,
            messages,
            newest_of_target=target,
            rate=rate,
            seconds=seconds,
        )
    finally:
        await target.close()


def warm_up(pair: Pair, round_trip_ms: float, source: Position, target: Position) -> None:
    """The link is there and in use. One put is one revision on both sides, however it gets there."""
    before = target.revision()
    pair.link(round_trip_ms / 2)
    source.write(calls.PUT, calls.puts(1)[0])
    if not target.wait_for(before + 1, SETTLE_SECONDS):
        raise SystemExit(f"{pair.name}: nothing arrived within {SETTLE_SECONDS:g} s")


def round_of(make: Callable[[], Pair], trip_ms: int, seconds: float, messages: list[bytes], found: Figures) -> None:
    """What is wanted, once, each with servers of its own: one of the two does not catch up with what it was given."""
    pair, said = make(), []
    if wanted(name_of(BACKLOG, trip_ms)):
        rate, cpu_us = backlog(pair, trip_ms, seconds, messages)
        found.backlog.append(rate)
        found.cpu.append(cpu_us)
        said.append(f"backlog {rate:.0f} rows/s ({cpu_us:.1f} us of CPU a row)")
    if wanted(name_of(LOAD, trip_ms)) or wanted(name_of(LAG, trip_ms)):
        arrived = under_load(make(), trip_ms, seconds, messages)
        found.load.append(arrived * calls.TXN_PUTS)
        said.append(f"under load {found.load[-1]:.0f} rows/s")
        if wanted(name_of(LAG, trip_ms)):
            late = lag(make(), trip_ms, seconds, messages, max(1.0, arrived / 2))
            found.lag.append(late.p99_ms)
            at = late.per_second * calls.TXN_PUTS
            said.append(f"lag at {at:.0f} rows/s: median {late.median_ms:.0f} ms, p99 {late.p99_ms:.0f} ms")
    if said:
        print(f"  {pair.name}, {trip_ms} ms: {'; '.join(said)}", flush=True)


def name_of(what: str, trip_ms: int) -> str:
    """The name of a line."""
    return f"{PREFIX}, {what}, {trip_ms} ms"


def lines(ours: dict[int, Figures], mirror: dict[int, Figures]) -> list[Row]:
    """Everything as rows."""
    found = []
    for trip in ROUND_TRIPS_MS:
        for what, unit, pick in (
            (BACKLOG, "rows/s", lambda item: item.backlog),
            (BACKLOG, "CPU us/row", lambda item: item.cpu),
            (LOAD, "rows/s", lambda item: item.load),
            (LAG, "ms", lambda item: item.lag),
        ):
            mine, less = pick(ours[trip]), unit != "rows/s"
            if mine:
                name = name_of(what, trip)
                found.append(row(name, unit, mine, EtcdPair.name, pick(mirror[trip]), less_is_better=less))
                if trip and what != LAG and pick(ours[0]):
                    found.append(row(name, unit, mine, "ours, 0 ms", pick(ours[0]), less_is_better=less))
    return found


def main() -> None:
    """The whole run."""
    if not any(wanted(name_of(what, trip)) for what in (BACKLOG, LOAD, LAG) for trip in ROUND_TRIPS_MS):
        return
    interrupt_as_error()
    seconds, rounds = 2 * float(os.environ.get("BENCH_SECONDS", "2")), int(os.environ.get("BENCH_ROUNDS", "3"))
    messages = calls.txns()
    BUILD.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-replication-", dir=BUILD))
    authority, numbers = Authority.make("bench-ca"), itertools.count()

    def ours_made() -> Pair:
        return OurPair(directory / f"{next(numbers)}", authority, rows_per_revision=calls.TXN_PUTS)

    def mirror_made() -> Pair:
        return EtcdPair(directory / f"{next(numbers)}", authority)

    ours, mirror = ({trip: Figures() for trip in ROUND_TRIPS_MS} for _ in range(2))
    try:
        for _ in range(rounds):
            for trip in ROUND_TRIPS_MS:
                round_of(ours_made, trip, seconds, messages, ours[trip])
                round_of(mirror_made, trip, seconds, messages, mirror[trip])
    finally:
        shutil.rmtree(directory)
    rows = lines(ours, mirror)
    head()
    for line in rows:
        show(line)
    save(rows)


if __name__ == "__main__":
    main()
