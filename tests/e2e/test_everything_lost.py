"""Every region and every volume of a store is lost at once, and its archiver too: the archive gives back everything up
to the log interval before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.archiving import DESTINATION, backup_to, credentials, use_credentials, wait_archived
from e2e.bucket import served
from e2e.manifests import small_store
from localkube.processes import pids_of
from rstore_testkit.load import Ledger, Load, Written, judge, wait_until
from rstore_testkit.loss import nodes_of, restore_region
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

pytestmark = [pytest.mark.runner, pytest.mark.timeout(1800)]
NAME = "lost"
REGIONS = ["us-east", "eu-west", "ap-south"]
ALL_PODS = f"-l=replicatedstore.io/store={NAME}"
LOG_INTERVAL_SECONDS = 2
SLACK_SECONDS = 10
"""For the way of a row to the archiver, and that of a segment to the bucket, on a machine that is busy."""


async def write_until_killed(store: Store, data_dir: Path) -> tuple[Ledger, dict[int, int]]:
    """Writes through every region while every process of the store is killed, and keeps the nodes from taking new ones.
    Returns what the writers were answered, and by revision the HashKV that a region had."""

    async def all_dead() -> bool:
        return not pids_of(data_dir, f"{NAME}-")

    clients = [store.new_client(region) for region in REGIONS]
    hashes: dict[int, int] = {}
    try:
        async with Load([store.writer(client) for client in clients], pause_seconds=0.02) as load:
            for _ in range(5):
                await load.wait_acknowledged(60)
                _, revision = load.ledger.acknowledged[next(reversed(load.ledger.acknowledged))]
                await wait_archived(store, revision)
                hashes[revision] = int((await store.client().hash_kv(revision)).hash)
            for region in REGIONS:
                for node in await nodes_of(store, region):
                    await store.kube("cordon", node)
            await load.wait_acknowledged(60)
            await store.kube("delete", "pod", ALL_PODS, "--force", "--grace-period=0", "--wait=false")
            await wait_until(all_dead, what="no process of the store", poll_seconds=0.1)
    finally:
        for client in clients:
            await client.close()
    return load.ledger, hashes


async def delete_with_claims(store: Store) -> None:
    """Deletes the store, and the claims and volumes of all regions."""
    await store.kube("delete", "rstore", NAME)
    await store.kube("delete", "pvc", ALL_PODS, "--ignore-not-found", f"--timeout={WAIT_SECONDS:g}s")

    async def nothing_left() -> bool:
        return not (await store.kube_get("pvc,statefulset,deployment,pod", ALL_PODS))["items"]

    await wait_until(nothing_left, what=f"nothing of {NAME}", poll_seconds=0.5)


async def test_all_but_the_last_interval_comes_back(
    kubectl: Kubectl,
    operator,
    scratch: Path,
    data_dir: Path,
    rstore: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
):
    del operator
    use_credentials(monkeypatch, "right")
    async with served("right") as bucket:
        manifest = small_store(NAME, REGIONS, backup=backup_to(bucket, f"{LOG_INTERVAL_SECONDS}s"))
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=credentials("right"))
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=manifest)
        async with Store(kubectl, NAME, scratch / NAME) as store:
            try:
                await store.wait_steady()
                await wait_archived(store, 1)  # with its first base the archive begins
                old_id = (await store.status())["storeId"]
                ledger, hashes = await write_until_killed(store, data_dir)
                kept = dict(bucket.objects)
                await delete_with_claims(store)
            finally:
                for region in REGIONS:
                    await restore_region(store, region)
        assert bucket.objects == kept, "nobody but its archiver writes an archive, and that was killed"

        async with Store(kubectl, NAME, scratch / f"{NAME}-again") as store:
            await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=manifest)
            await store.wait_steady()
            assert (await store.status())["storeId"] != old_id
            endpoint = ("--endpoint-url", bucket.endpoint)
            printed = await asyncio.to_thread(
                rstore, "restore", NAME, "--from-archive", DESTINATION, *endpoint, "-o", "json"
            )
            done = json.loads(printed.stdout)
            assert (done["storeId"], done["compared"]) == (old_id, True)
            await check_what_came_back(store, ledger, done["archivedRevision"])
            for revision, expected in hashes.items():
                at = ("--at", str(revision), "--store-id", old_id, "-o", "json")
                shown = await asyncio.to_thread(rstore, "backup", "verify", DESTINATION, *endpoint, *at)
                assert json.loads(shown.stdout)["hash"] == f"{expected:08x}", shown.stdout
            newest = max(ack.revision for ack in ledger.acks)
            revision = (await store.client().put(b"after", b"1")).header.revision
            assert revision > newest, "no client takes a new revision for one of the old store"
            await wait_archived(store, revision)
    kubectl.run("delete", "rstore", NAME)


async def check_what_came_back(store: Store, ledger: Ledger, revision: int) -> None:
    """Each write up to the revision, none after it, in every region; what is lost was written within the interval."""
    await store.wait_converged()
    upto = Ledger(
        {key: written for key, written in ledger.acknowledged.items() if written[1] <= revision}, ledger.unknown
    )
    for region in REGIONS:
        present = await store.read_all(region, b"load/")
        assert judge(upto, present).ok, (region, judge(upto, present))
        assert not {key: written for key, written in present.items() if is_after(written, revision)}
    died_at = max(ack.answered_at for ack in ledger.acks)
    lost = [died_at - ack.answered_at for ack in ledger.acks if ack.revision > revision]
    print(f"{len(lost)} of {len(ledger.acks)} writes are lost, of the last {max(lost, default=0.0):.1f} s")
    assert max(lost, default=0.0) <= LOG_INTERVAL_SECONDS + SLACK_SECONDS


def is_after(written: Written, revision: int) -> bool:
    return written.mod_revision > revision
