"""What SemiSync costs: puts in Async and in SemiSync side by side, over several round trips to the other region.

Two regions of one replica each, mutual TLS, syncs to disk, all defaults; SemiSync waits for the other region. The relay
in between delays each way by half of the round trip. For each round trip and number of puts outstanding the two modes
take turns on the same processes; puts of 128 bytes, rates and latencies are medians of the rounds. A ratio above 1
means that SemiSync is better. With ``n`` puts outstanding SemiSync can do no more than ``n`` in a round trip.

Environment: ``BENCH_SECONDS`` (of each measurement, default 2), ``BENCH_ROUNDS`` (default 3), ``BENCH_ONLY``. Updates
``build/bench.json``.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bench import calls
from bench.h2_load import Found, Plan, run_apart
from bench.replication_pairs import OurPair, Position, interrupt_as_error, running
from bench.results import BUILD, Row, head, row, save, show, wanted
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import CLIENT_PORT
from rstore_api.proto import rstore_pb2

ROUND_TRIPS_MS = (0, 20, 100)
OUTSTANDING = (1, 64, 512)
CONNECTIONS = 4
WARMUP_SECONDS = 0.5
SETTLE_SECONDS = 60.0
SEMI_SYNC, ASYNC = "SemiSync", "Async"
RULES = {
    ASYNC: None,
    SEMI_SYNC: rstore_pb2.SyncRule(min_in_sync_regions=1, timeout_ms=5000),
}


@dataclass
class Figures:
    """One mode's results for one kind of load, a value for each round."""

    per_second: list[float] = field(default_factory=list)
    median_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """One more round."""
        self.per_second.append(found.calls_per_second)
        self.median_ms.append(found.median_ms)
        self.p99_ms.append(found.p99_ms)


def name_of(trip_ms: int, outstanding: int) -> str:
    """The name of a line."""
    return f"semi-sync, put, {trip_ms} ms, {outstanding} outstanding"


def settle(source: Position, target: Position) -> None:
    """Nothing is left over from the load before."""
    if not target.wait_for(source.revision(), SETTLE_SECONDS):
        raise SystemExit(f"the other region did not catch up within {SETTLE_SECONDS:g} s")


def measure(pair: OurPair, trip_ms: int, seconds: float, rounds: int) -> dict[tuple[int, str], Figures]:
    """All loads over one round trip."""
    found: dict[tuple[int, str], Figures] = {}
    puts = calls.puts()
    with running(pair) as (source, target):
        pair.link(trip_ms / 2)
        for outstanding in (number for number in OUTSTANDING if wanted(name_of(trip_ms, number))):
            for number, mode in itertools.product(range(rounds), RULES):
                # Every second round the other way round.
                mode = mode if number % 2 == 0 else next(other for other in RULES if other != mode)
                pair.sync(RULES[mode])
                settle(source, target)
                plan = Plan.of(
                    pair.source_host(),
                    CLIENT_PORT,
                    pair.tls_directory,
                    calls.PUT,
                    puts,
                    connections=min(CONNECTIONS, outstanding),
                    outstanding=outstanding,
                    warmup_seconds=WARMUP_SECONDS,
                    seconds=seconds,
                )
                found.setdefault((outstanding, mode), Figures()).add(run_apart(plan))
    return found


def lines(trip_ms: int, found: dict[tuple[int, str], Figures]) -> list[Row]:
    """Everything over one round trip as rows."""
    rows = []
    for outstanding in sorted({number for number, _ in found}):
        name, ours, peer = name_of(trip_ms, outstanding), found[outstanding, SEMI_SYNC], found[outstanding, ASYNC]
        rows += [
            row(name, "puts/s", ours.per_second, ASYNC, peer.per_second, less_is_better=False),
            row(name, "ms, median", ours.median_ms, ASYNC, peer.median_ms, less_is_better=True),
            row(name, "ms, p99", ours.p99_ms, ASYNC, peer.p99_ms, less_is_better=True),
        ]
    return rows


def main() -> None:
    """The whole run."""
    trips = [trip for trip in ROUND_TRIPS_MS if any(wanted(name_of(trip, number)) for number in OUTSTANDING)]
    if not trips:
        return
    interrupt_as_error()
    seconds, rounds = float(os.environ.get("BENCH_SECONDS", "2")), int(os.environ.get("BENCH_ROUNDS", "3"))
    BUILD.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-semi-sync-", dir=BUILD))
    authority = Authority.make("bench-ca")
    rows: list[Row] = []
    head(SEMI_SYNC)
    try:
        for trip in trips:
            pair = OurPair(directory / f"{trip}", authority, rows_per_revision=1)
            found = lines(trip, measure(pair, trip, seconds, rounds))
            for line in found:
                show(line)
            rows += found
    finally:
        shutil.rmtree(directory)
    save(rows)


if __name__ == "__main__":
    main()
