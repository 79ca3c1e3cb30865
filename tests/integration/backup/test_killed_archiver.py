"""An archiver that is killed again and again, at any moment: all that it has written is usable, and nothing is missing
but what came within the last interval."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from integration.replicas.archiver_processes import ArchiverProcess
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import STORE_ID
from rstore_api.client import Client
from rstore_api.client.pages import pages
from rstore_api.errors import StoreError
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_backup.objects import ObjectStore
from rstore_backup.restoring.catalogue import read_catalogue
from rstore_backup.restoring.plan import AtRevision, Latest, Target
from rstore_backup.restoring.restore import restorable
from rstore_backup.restoring.verifying import verify
from rstore_backup.stores import Below, open_store

pytestmark = pytest.mark.timeout(1800)
KILLS = 12
INTERVAL_SECONDS = 1.0
SLACK_SECONDS = 6.0
"""For the way of a row to the archiver and of a segment to the disk, on a machine that is busy."""
START_SECONDS = 300.0
REVISIONS = 15


@dataclass
class Written:
    """What was acknowledged, in order: revisions, and when (monotonic seconds)."""

    acks: list[tuple[int, float]] = field(default_factory=list)

    @property
    def newest(self) -> int:
        return self.acks[-1][0]

    def until(self, moment: float) -> int:
        """The newest revision that had been acknowledged at a moment; 0: none."""
        return max((revision for revision, answered_at in self.acks if answered_at <= moment), default=0)


@asynccontextmanager
async def writing(client: Client) -> AsyncIterator[Written]:
    """Puts and deletes keys around a block, one request at a time."""
    written, stop = Written(), asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            key = b"key/%02d" % (number % 40)
            with suppress(StoreError):  # on a busy machine; what it did is in the store or not
                answer: Any
                if number % 7 == 6:
                    answer = await client.delete(key)
                else:
                    answer = await client.put(key, b"value-%d" % number * (number % 50))
                written.acks.append((answer.header.revision, time.monotonic()))
            number += 1
            await asyncio.sleep(0.005)

    task = asyncio.create_task(write())
    try:
        yield written
    finally:
        stop.set()
        await task


async def restored(archive: ObjectStore, target: Target) -> tuple[int, list[KeyValue]]:
    result = await restorable(archive, STORE_ID, target, begin=lambda _objects: None, advance=lambda _objects: None)
    assert not result.unusable
    with result.table as table:
        return result.plan.revision, list(table.keys())


async def stored(client: Client, revision: int) -> list[KeyValue]:
    return [kv async for page in pages(client, revision=revision, timeout_seconds=30) for kv in page.kvs]


async def caught_up(archiver: ArchiverProcess, written: Written) -> int:
    """Waits until all that is acknowledged now is archived; returns the revision that it reports."""
    newest = written.newest
    report = await archiver.reports(lambda report: report.archived_revision >= newest, timeout_seconds=START_SECONDS)
    return report.archived_revision


async def test_what_a_killed_archiver_leaves_is_usable_and_complete(
    start_regions: Any,
    authority: Authority,
    tmp_path: Path,
) -> None:
    rng = random.Random(11)
    (east,) = await start_regions(("us-east", 1))
    destination = f"file://{tmp_path}/archive"
    archive = Below(open_store(destination), STORE_ID)
    archiver = ArchiverProcess(
        tmp_path / "archiver", authority, east, destination, logIntervalMs=int(1000 * INTERVAL_SECONDS)
    )
    try:
        async with east.client() as client:
            await client.put_many([(b"many/%04d" % number, rng.randbytes(2000)) for number in range(4000)])
            async with writing(client) as written:
                archiver.start()
                report = await archiver.reports(
                    lambda report: report.last_base is not None, timeout_seconds=START_SECONDS
                )
                assert report.last_base is not None
                first = report.last_base.revision
                for number in range(KILLS):
                    # Half of them while it starts, reads what it has written and makes a base; half while it archives,
                    # some of those when it has archived for so long that the bound on what is missing says something.
                    reported, seconds = 0, rng.uniform(0, 3)
                    if number % 2:
                        reported = await caught_up(archiver, written)
                    if number % 4 == 3:
                        seconds += INTERVAL_SECONDS + SLACK_SECONDS
                    since = time.monotonic()
                    await asyncio.sleep(seconds)
                    killed_at = time.monotonic()
                    assert await archiver.end(signal.SIGKILL) == -signal.SIGKILL
                    revision, keys = await restored(archive, Latest())
                    assert keys == await stored(client, revision)
                    assert revision >= reported
                    if killed_at - since > INTERVAL_SECONDS + SLACK_SECONDS:
                        assert revision >= written.until(killed_at - INTERVAL_SECONDS - SLACK_SECONDS) > reported
                    archiver.configure(east, requests=[f"base-{number}"])
                    archiver.start()
                await caught_up(archiver, written)
            newest = written.newest
            await archiver.reports(
                lambda report: (
                    report.archived_revision >= newest
                    and any(base.request == f"base-{KILLS - 1}" for base in report.bases)
                ),
                timeout_seconds=START_SECONDS,
            )
            assert await archiver.end() == 0
            await check_all_of_it(archive, client, first, written, rng)
    finally:
        archiver.kill()


async def check_all_of_it(
    archive: ObjectStore, client: Client, first: int, written: Written, rng: random.Random
) -> None:
    """Every object is whole, every revision from the first base on can be restored, and is what the store had."""
    checked = await verify(archive, STORE_ID, directory=None, begin=lambda _o: None, advance=lambda _o: None)
    assert not checked.catalogue.damaged
    assert checked.compared_bases
    assert not checked.different_bases
    catalogue = await read_catalogue(archive, STORE_ID)
    line = catalogue.line()
    assert line is not None
    assert not line.holes
    [span] = catalogue.recoverable().spans()
    assert span.first_revision == first
    assert span.last_revision >= written.newest
    acknowledged = [revision for revision, _ in written.acks if revision > first]
    for revision in sorted(rng.sample(acknowledged, REVISIONS)):
        assert await restored(archive, AtRevision(revision)) == (revision, await stored(client, revision))
