"""How long a region takes to leave a diverged tail, by the length of the tail.

One region of one replica, with its real state machine, Raft journal and disk. The tail is exported to quarantine and
undone, as at a rejoin; beside the time, the longest that anything else on the replica's event loop had to wait.

Environment: ``BENCH_ROWS`` (lengths, default ``1000 10000 50000``). Updates ``build/bench.json``; fails when the
longest tail takes more than twice as long for a row as the shortest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from bench.results import BUILD, Row, save, wanted
from rstore_api.proto import rpc_pb2
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.receiving.tail import leave_tail
from unit.replication.real_regions import RealRegion, Wires, bootstrap_all

VALUE_BYTES = 128
ROWS_PER_ENTRY = 200


@dataclass(frozen=True)
class Figure:
    """What leaving one tail took."""

    rows: int
    seconds: float
    longest_wait_seconds: float
    file_bytes: int


async def measure(rows: int, directory: Path) -> Figure:
    """Writes a tail of so many rows and leaves it."""
    region = RealRegion("east", directory, Wires())
    await bootstrap_all([region], "east")
    try:
        fork = region.machine.revision
        for start in range(0, rows, ROWS_PER_ENTRY):
            await _write(region, start, min(ROWS_PER_ENTRY, rows - start))
        waits = asyncio.create_task(_longest_wait())
        began = time.monotonic()
        rewind = pb.Rewind(fork_revision=fork, epoch=2, tail_epoch=1)
        await leave_tail(region.machine, region.group, rewind, ReplicationConfig("east", "east-0"))
        seconds = time.monotonic() - began
        waits.cancel()
        (tail,) = region.machine.quarantined
        assert (region.machine.revision, tail.count) == (fork, rows)
        return Figure(rows, seconds, await waits, tail.size_bytes)
    finally:
        await region.stop()


async def _write(region: RealRegion, start: int, count: int) -> None:
    puts = [
        rpc_pb2.PutRequest(key=b"key/%08d" % number, value=bytes(VALUE_BYTES)) for number in range(start, start + count)
    ]
    batch = pb.WriteBatch(epoch=1, requests=[pb.WriteRequest(put=put) for put in puts])
    await region.group.propose(pb.LogEntry(write=batch).SerializeToString(), timeout_seconds=30)


async def _longest_wait() -> float:
    longest = 0.0
    try:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - before - 0.001)
    except asyncio.CancelledError:
        return longest


def main() -> None:
    """Prints a line for each length; exit status 1 when the time is out of proportion."""
    if not wanted("rejoin"):
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found = []
    print(f"{'rows':>8} {'seconds':>9} {'us per row':>11} {'longest wait ms':>16} {'file MB':>8}")
    for rows in sorted(map(int, os.environ.get("BENCH_ROWS", "1000 10000 50000").split())):
        with tempfile.TemporaryDirectory() as directory:
            one = asyncio.run(measure(rows, Path(directory)))
        found.append(one)
        print(
            f"{rows:>8} {one.seconds:>9.3f} {one.seconds / rows * 1e6:>11.1f} "
            f"{one.longest_wait_seconds * 1000:>16.1f} {one.file_bytes / 1e6:>8.2f}",
            flush=True,
        )
    BUILD.mkdir(exist_ok=True)
    save([Row(f"rejoin, tail of {one.rows} rows", round(one.seconds, 3), 0.0, "", 0.0, "s") for one in found])
    shortest, longest = found[0], found[-1]
    if longest.seconds / longest.rows > 2 * shortest.seconds / shortest.rows:
        sys.exit("the time is out of proportion to the tail")


if __name__ == "__main__":
    main()
