"""What an archive costs the writes, how late it is, and how fast it is restored.

One region of three replicas with the product's defaults, and an archiver that reads it and writes into a folder on the
same disk, with the shortest ``logInterval``, 1 s.

- *put*: 64 outstanding, with the archiver and without it, in turns; puts in a second, and CPU time of the replicas. The
  archiver has no CPU of its own here, so that where all are busy the first ratio has its work in it, too;
- *lag p99*: from the acknowledgement of a transaction of 64 puts until the archiver reports it as archived, at half of
  the rate that the region takes; a ratio of 1 is a lag of ``logInterval``;
- *restore*: of archives of two sizes, into an empty store of one replica, compared key by key: reading the archive,
  and all of it. Four fifths of an archive are a base, the rest rows after it. Values are 1 KiB that cannot be
  compressed. The lines of the larger one compare it with the smaller one.

Environment: ``BENCH_SECONDS`` (of each measurement, default 2), ``BENCH_ROUNDS`` (default 3), ``BENCH_RESTORE_MIB``
(sizes, default ``100 400``; they are on the disk three times), ``BENCH_ONLY``. Updates ``build/bench.json``. Fails when
the largest archive takes half as much CPU time again for a mebibyte as the smallest, or half as much memory again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import calls, contenders, lag_meter, restore_apart, unary_load
from bench.h2_load import Plan, run_apart
from bench.made_archive import STORE_ID, MadeArchive
from bench.replication_pairs import Position, interrupt_as_error
from bench.results import BUILD, Row, head, row, save, show, wanted
from integration.replicas.archiver_processes import ArchiverProcess
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import CLIENT_PORT
from rstore_backup.report import PATH, decode

PUT, LAG = "archive, put, 64 outstanding", "archive, lag p99 at half rate"
INTERVAL_MS = 1000
START_SECONDS = 120.0
POLL_SECONDS = 0.02
TRANSACTIONS_OUTSTANDING = 16
OFF, INTERVAL = "off", "logInterval"
SLOWER, LARGER = 1.5, 1.5
"""Of a large archive, for each mebibyte and in all."""


@contextmanager
def archiving(archiver: ArchiverProcess, store: contenders.Ours) -> Iterator[None]:
    """The archiver runs around a block, and has what had been written before."""
    position = Position(store.leader_host(), store.tls_directory)
    newest = position.revision()
    position.close()
    archiver.start()
    try:
        asyncio.run(
            archiver.reports(
                lambda report: report.archived_revision >= newest and report.last_base is not None,
                timeout_seconds=START_SECONDS,
            )
        )
        yield
    finally:
        asyncio.run(archiver.end())


def puts(store: contenders.Ours, archiver: ArchiverProcess, seconds: float, rounds: int) -> Iterator[Row]:
    """Puts with and without an archiver."""
    beside: list[unary_load.Figures] = []
    alone: list[unary_load.Figures] = []
    archivers: list[float] = []
    messages = calls.puts()
    for number in range(rounds):
        for is_on in (False, True) if number % 2 == 0 else (True, False):
            if not is_on:
                alone.append(unary_load.measure(store, calls.PUT, messages, seconds))
                continue
            with archiving(archiver, store):
                assert archiver.process is not None
                before = contenders.cpu_seconds([archiver.process])
                beside.append(unary_load.measure(store, calls.PUT, messages, seconds))
                used = contenders.cpu_seconds([archiver.process]) - before
                archivers.append(1e3 * used / beside[-1].calls)
    for unit, pick, less in unary_load.FIGURES:
        yield row(PUT, unit, list(map(pick, beside)), OFF, list(map(pick, alone)), less_is_better=less)
    yield row(f"{PUT}, the archiver", "CPU ms/call", archivers, "", archivers, less_is_better=True)


def lag(store: contenders.Ours, archiver: ArchiverProcess, seconds: float) -> Row:
    """How late the archive is."""
    messages = calls.txns()
    plan = Plan.of(
        store.leader_host(),
        CLIENT_PORT,
        store.tls_directory,
        calls.TXN,
        messages,
        connections=4,
        outstanding=TRANSACTIONS_OUTSTANDING,
        warmup_seconds=0.5,
        seconds=seconds,
    )

    async def archived() -> int:
        return decode((await archiver.get(PATH))[1]).archived_revision

    with archiving(archiver, store):
        rate = max(1.0, run_apart(plan).calls_per_second / 2)
    with archiving(archiver, store):
        late = asyncio.run(
            lag_meter.measure(
                store.leader_host(),
                store.tls_directory,
                calls.TXN,
                messages,
                newest_of_target=archived,
                rate=rate,
                seconds=5 * seconds,
                poll_seconds=POLL_SECONDS,
            )
        )
    print(
        f"  {late.per_second * calls.TXN_PUTS:.0f} rows/s of {rate * calls.TXN_PUTS:.0f} that were to be written; "
        f"lag: median {late.median_ms:.0f} ms",
        flush=True,
    )
    return row(LAG, "ms", [late.p99_ms], INTERVAL, [INTERVAL_MS], less_is_better=True)


def restored(directory: Path, authority: Authority, mebibytes: int) -> restore_apart.Found:
    """What one restore took."""
    made = MadeArchive(directory / "archive", mebibytes)
    asyncio.run(made.write())
    store = contenders.Ours(directory, authority, name="restored", source=None, members=1)
    (directory / "keys").mkdir()
    try:
        store.start()
        address = f"{store.leader_host()}:{CLIENT_PORT}"
        plan = restore_apart.Plan(
            made.destination, STORE_ID, str(directory / "keys"), address, str(store.tls_directory)
        )
        found = restore_apart.run_apart(plan)
    finally:
        contenders.stop(store.processes())
    assert found.keys == made.keys
    print(
        f"  {mebibytes} MiB, {found.keys} keys: reading {found.reading:.1f} s, filling {found.filling:.1f} s, "
        f"comparing {found.comparing:.1f} s; {found.cpu:.1f} s of CPU, {found.peak_mib:.0f} MiB of memory",
        flush=True,
    )
    return found


def restores(directory: Path, authority: Authority, sizes: list[int]) -> Iterator[Row]:
    """Restores of all sizes. Exits with a message when the time is out of proportion, or memory grows."""
    found: dict[int, restore_apart.Found] = {}
    for size in sizes:
        own = directory / f"{size}"
        own.mkdir()
        found[size] = restored(own, authority, size)
        shutil.rmtree(own)
    first = sizes[0]
    for size, one in found.items():
        peer = found[first]
        peer_name = "" if size == first else f"{first} MiB"
        for what, unit, mine, theirs in (
            ("reading", "MiB/s", size / one.reading, first / peer.reading),
            ("all", "MiB/s", size / one.seconds, first / peer.seconds),
            ("all", "CPU ms/MiB", 1e3 * one.cpu / size, 1e3 * peer.cpu / first),
            ("memory", "MiB", one.peak_mib, peer.peak_mib),
        ):
            name = f"restore, {size} MiB, {what}"
            yield row(name, unit, [mine], peer_name, [theirs], less_is_better=unit != "MiB/s")
    last = found[sizes[-1]]
    if last.cpu / sizes[-1] > SLOWER * found[first].cpu / first:
        sys.exit("the time of a restore is out of proportion to the archive")
    if last.peak_mib > LARGER * found[first].peak_mib:
        sys.exit("the memory of a restore grows with the archive")


def lines(directory: Path, authority: Authority, seconds: float, rounds: int) -> Iterator[Row]:
    """Everything that is wanted."""
    if wanted(PUT) or wanted(LAG):
        store = contenders.Ours(directory, authority, name="store", source=None)
        archiver = ArchiverProcess(
            directory / "archiver",
            authority,
            store.region,
            (directory / "archive").as_uri(),
            logIntervalMs=INTERVAL_MS,
        )
        try:
            store.start()
            if wanted(PUT):
                yield from puts(store, archiver, seconds, rounds)
            if wanted(LAG):
                yield lag(store, archiver, seconds)
        finally:
            archiver.kill()
            contenders.stop(store.processes())
    if wanted("restore"):
        yield from restores(
            directory, authority, sorted(map(int, os.environ.get("BENCH_RESTORE_MIB", "100 400").split()))
        )


def main() -> None:
    """The whole run."""
    interrupt_as_error()
    seconds, rounds = float(os.environ.get("BENCH_SECONDS", "2")), int(os.environ.get("BENCH_ROUNDS", "3"))
    BUILD.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-backup-", dir=BUILD))
    rows: list[Row] = []
    print(f"load average {os.getloadavg()[0]:.1f}; on a busy machine only ratios, and CPU time, say something")
    head("archive on")
    try:
        for line in lines(directory, Authority.make("bench-ca"), seconds, rounds):
            rows.append(line)
            show(line)
    finally:
        shutil.rmtree(directory)
        save(rows)


if __name__ == "__main__":
    main()
