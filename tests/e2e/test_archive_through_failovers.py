"""The archive of a store that was written to through switchovers and the loss of a region has every moment of it.

What a restore gives is compared with three things that know nothing of archives: the history as a watch of the store
shows it, the HashKV of its regions, and the answers that the writers got.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from e2e.archiving import DESTINATION, backup_to, credentials, use_credentials, wait_archived
from e2e.bucket import Bucket, served
from e2e.histories import Churn, History
from e2e.manifests import small_store
from rstore_api.client.pages import pages
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_backup.restoring.plan import AtRevision, AtTime, Target
from rstore_backup.restoring.restore import restorable
from rstore_backup.stores import Below, open_store
from rstore_testkit.load import Acknowledged, Load
from rstore_testkit.loss import lose_region, nodes_of, restore_region, wait_failed_over
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

pytestmark = [pytest.mark.runner, pytest.mark.timeout(1800)]
NAME, AT_REVISION, AT_TIME = "through", "at-revision", "at-time"
REGIONS = ["us-east", "eu-west", "ap-south"]
REVISIONS, TIMES = 20, 5
LOAD = b"load/"


@dataclass
class Moment:
    """A moment at which nothing was written: all up to ``revision`` was archived, and nothing after it."""

    revision: int
    time_ms: int


@dataclass
class Writing:
    """What was written, and the moments between."""

    store: Store
    random: random.Random
    acknowledged: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    acks: list[tuple[int, Acknowledged]] = field(default_factory=list)
    """With what turns monotonic seconds into milliseconds since 1970."""
    moments: list[Moment] = field(default_factory=list)

    @asynccontextmanager
    async def phase(self) -> AsyncIterator[Load]:
        """Writes around a block, and afterwards waits until all of it is archived."""
        clients = [self.store.new_client(region) for region in (*REGIONS, None)]
        try:
            writers = [self.store.writer(client) for client in clients[:-1]]
            prefix = LOAD + b"%d/" % len(self.moments)
            async with Load(writers, prefix=prefix, pause_seconds=0.05) as load, Churn(clients[-1], len(self.moments)):
                await load.wait_acknowledged(30)
                yield load
                await load.wait_acknowledged(30)
        finally:
            for client in clients:
                await client.close()
        self.acknowledged.update(load.ledger.acknowledged)
        offset_ms = int(1000 * (time.time() - time.monotonic()))
        self.acks += [(offset_ms, ack) for ack in load.ledger.acks]
        revision = await self.store.wait_converged()
        await wait_archived(self.store, revision)
        self.moments.append(Moment(revision, time.time_ns() // 1_000_000))


async def lose_with_archiver(store: Store, region: str) -> None:
    """Kills all of a region, and the store's archiver, which runs there."""
    [pod] = (await store.kube_get("pods", f"-l={archiver_of(store)}"))["items"]
    assert pod["spec"]["nodeName"] in await nodes_of(store, region)
    await lose_region(store, region)
    await store.kube("delete", "pod", f"-l={archiver_of(store)}", "--force", "--grace-period=0", "--wait=false")


def archiver_of(store: Store) -> str:
    return f"replicatedstore.io/store={store.name},app.kubernetes.io/component=archiver"


async def switch_over(store: Store, region: str) -> None:
    await store.kube("annotate", "rstore", store.name, f"replicatedstore.io/failover-to={region}")
    await store.wait_steady(primary=region)


async def write_through_failovers(store: Store, rstore: Callable[..., Any]) -> Writing:
    """Writes without a pause while the primary moves, its region is lost, and comes back."""
    writing = Writing(store, random.Random(7))
    async with writing.phase():
        pass
    async with writing.phase():
        await switch_over(store, "eu-west")
    async with writing.phase() as load:
        try:
            await lose_with_archiver(store, "eu-west")
            receipt = await wait_failed_over(store, "eu-west")
            assert receipt["mode"] == "Automatic"
            await load.wait_acknowledged(60)
        finally:
            await restore_region(store, "eu-west")
        await store.wait_steady()
    async with writing.phase():
        printed = (await asyncio.to_thread(rstore, "backup", "now", store.name, f"--wait={WAIT_SECONDS:g}")).stdout
        assert "base at revision" in printed
    async with writing.phase():
        primary = (await store.status())["primaryRegion"]
        await switch_over(store, next(region for region in REGIONS if region not in (primary, "eu-west")))
    async with writing.phase():
        pass
    return writing


@dataclass(frozen=True)
class Restored:
    """What the archive has at a target."""

    revision: int
    keys: list[KeyValue]
    hash: int


async def restored(bucket: Bucket, store_id: str, target: Target) -> Restored:
    """Restores as ``rstore restore --from-archive`` does, up to the keys that it would put into a store."""
    archive = Below(open_store(DESTINATION, bucket.endpoint), store_id)
    result = await restorable(archive, store_id, target, begin=lambda _objects: None, advance=lambda _objects: None)
    assert not result.unusable
    with result.table as table:
        return Restored(result.plan.revision, list(table.keys()), table.hash())


async def stored(store: Store) -> list[KeyValue]:
    """Returns all keys of a store."""
    return [kv async for page in pages(store.client(), timeout_seconds=30) for kv in page.kvs]


async def test_every_moment_of_a_store_that_failed_over(
    kubectl: Kubectl, operator, scratch: Path, rstore: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    del operator
    use_credentials(monkeypatch, "right")
    async with served("right") as bucket, Store(kubectl, NAME, scratch / NAME) as store:
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=credentials("right"))
        replication = {"mode": "SemiSync", "minInSyncRegions": 1}
        manifest = small_store(NAME, REGIONS, backup=backup_to(bucket), replication=replication)
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=manifest)
        await store.wait_steady()
        await wait_archived(store, 1)  # with its first base the archive begins
        writing = await write_through_failovers(store, rstore)
        status = await store.status()
        store_id, epochs = status["storeId"], [receipt["epoch"] for receipt in status["history"]]
        assert len(epochs) == 3, status["history"]
        last = writing.moments[-1].revision
        history = await History.watched(store.client(), last)
        assert not {
            key: (value, revision)
            for key, (value, revision) in writing.acknowledged.items()
            if history.puts.get((revision, key)) != value
        }, "what was acknowledged in SemiSync is in the history"

        await check_revisions(bucket, store, store_id, history, writing)
        await check_times(bucket, store_id, history, writing)
        verified = await asyncio.to_thread(
            rstore, "backup", "verify", DESTINATION, "--endpoint-url", bucket.endpoint, "--store-id", store_id,
            "--against", NAME,
        )  # fmt: skip
        assert f"{NAME} has the same at that revision" in verified.stdout
        archive = ("--from-archive", DESTINATION, "--endpoint-url", bucket.endpoint, "--store-id", store_id)
        revision = writing.random.choice(history.revisions)
        await check_new_store(kubectl, scratch, rstore, AT_REVISION, history, revision, (*archive, f"--at={revision}"))
        moment = writing.moments[2]
        at = datetime.fromtimestamp(moment.time_ms / 1000, UTC).isoformat(timespec="milliseconds")
        await check_new_store(kubectl, scratch, rstore, AT_TIME, history, moment.revision, (*archive, f"--at={at}"))
    kubectl.run("delete", "rstore", NAME, AT_REVISION, AT_TIME)


async def check_revisions(bucket: Bucket, store: Store, store_id: str, history: History, writing: Writing) -> None:
    """Restores revisions at random, and those on both sides of each change of primary."""
    jumps = [pair for pair in zip(history.revisions, history.revisions[1:], strict=False) if pair[1] - pair[0] > 10**6]
    assert jumps, "a failover begins far above"
    chosen = {*writing.random.sample(history.revisions, REVISIONS), *(revision for pair in jumps for revision in pair)}
    for number, revision in enumerate(sorted(chosen)):
        past = await restored(bucket, store_id, AtRevision(revision))
        assert past.revision == revision
        assert past.keys == history.keys(revision)
        region = REGIONS[number % len(REGIONS)]
        answer = await store.client(region).hash_kv(revision)
        assert (answer.hash_revision, answer.hash) == (revision, past.hash), region
        values = {kv.key: (kv.value, kv.mod_revision) for kv in past.keys if kv.key.startswith(LOAD)}
        expected = {key: written for key, written in writing.acknowledged.items() if written[1] <= revision}
        assert expected.items() <= values.items(), revision


async def check_times(bucket: Bucket, store_id: str, history: History, writing: Writing) -> None:
    """Restores the moments at which nothing was written, whose state is known exactly; and times at random, which have
    nothing of what was asked for later, and, of two times, never less of the later one."""
    for moment in writing.moments[:TIMES]:
        past = await restored(bucket, store_id, AtTime(moment.time_ms))
        assert (past.revision, past.keys) == (moment.revision, history.keys(moment.revision))
    first, last = writing.moments[0].time_ms, writing.moments[-2].time_ms
    before = 0
    for time_ms in sorted(writing.random.sample(range(first, last), TIMES)):
        past = await restored(bucket, store_id, AtTime(time_ms))
        assert past.keys == history.keys(past.revision)
        assert past.revision >= before
        before = past.revision
        later = [ack for offset_ms, ack in writing.acks if offset_ms + 1000 * ack.asked_at > time_ms + 1]
        assert not [ack for ack in later if ack.revision <= past.revision]


async def check_new_store(
    kubectl: Kubectl,
    scratch: Path,
    rstore: Callable[..., Any],
    name: str,
    history: History,
    revision: int,
    arguments: tuple[str, ...],
) -> None:
    """Makes another store of the archive by the command itself."""
    async with Store(kubectl, name, scratch / name) as store:
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=small_store(name, ["ap-south"]))
        await store.wait_steady()
        done = json.loads((await asyncio.to_thread(rstore, "restore", name, *arguments, "-o", "json")).stdout)
        assert (done["archivedRevision"], done["compared"]) == (revision, True)
        assert await stored(store) == history.keys(revision)
        assert done["revision"] > history.revisions[-1]
