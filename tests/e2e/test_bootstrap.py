"""A store that begins with a past state, declared in its spec, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from e2e.archiving import DESTINATION, SECRET, backup_to, credentials, wait_archived
from e2e.bucket import Bucket, served
from e2e.manifests import small_store
from e2e.operators import acting_pod, delete_at_once
from rstore_api.client import Client
from rstore_api.errors import StoreError
from rstore_api.proto import rpc_pb2
from rstore_testkit.load import wait_until
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

pytestmark = [pytest.mark.runner, pytest.mark.timeout(900)]
ALL = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0")
SOURCE, COPY, LOST, AGAIN, SETTLED, CLAIM = "departed", "revived", "lost", "again", "settled", "kept-archives"
"""A name of its own for each store: volumes are kept, and one that holds data is not filled."""


async def contents(client: Client) -> list[bytes]:
    """All keys with values, versions, revisions and leases."""
    answer = await client.range(ALL, timeout_seconds=20)
    return [kv.SerializeToString() for kv in answer.kvs]


async def bootstrap_of(store: Store) -> dict[str, Any]:
    return dict((await store.status()).get("bootstrap") or {})


async def restored(store: Store) -> tuple[str, str]:
    """Reason and message of the condition Restored."""
    conditions = (await store.status()).get("conditions", [])
    found = [(item["reason"], item["message"]) for item in conditions if item["type"] == "Restored"]
    return found[0] if found else ("", "")


async def wait_reason(store: Store, reason: str) -> str:
    async def reached() -> bool:
        return (await restored(store))[0] == reason

    await wait_until(reached, what=f"Restored: {reason}", poll_seconds=0.3)
    return (await restored(store))[1]


async def refuses_clients(store: Store, region: str) -> None:
    """A client of the region with the certificate of all clients is kept out, whatever it asks for."""
    store.write_certificates()
    client = store.new_client(region)
    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: client.get(b"key/0", serializable=True),
        lambda: client.put(b"other", b"value"),
    ]
    try:
        for ask in asked:
            await wait_until(partial(is_told_why, ask), what=f"a client is kept out of {region}")
    finally:
        await client.close()


async def is_told_why(ask: Callable[[], Awaitable[object]]) -> bool:
    """Whether the refusal says why: not where the time ends while the client, which tries again, awaits an answer."""
    with pytest.raises(StoreError) as refused:
        await ask()
    return "the store is being restored" in str(refused.value)


async def fill(store: Store, count: int) -> tuple[int, list[bytes]]:
    """Writes keys, one of them with a lease; returns the revision and what is there then."""
    client = store.new_client()
    try:
        write = store.writer(client)
        for number in range(count):
            await write(f"key/{number}".encode(), b"value" * (1 + number))
        revision = await write(b"key/0", b"changed")
        return revision, await contents(client)
    finally:
        await client.close()


async def apply(kubectl: Kubectl, manifest: str) -> None:
    await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=manifest)


async def test_a_store_is_made_of_a_backup_whose_store_is_gone(
    kubectl: Kubectl, operator, scratch: Path, rstore: Callable[..., Any]
):
    del operator
    async with served("right") as bucket:
        await apply(kubectl, credentials("right"))
        async with Store(kubectl, SOURCE, scratch / SOURCE) as store:
            await apply(kubectl, small_store(SOURCE, ["us-east", "eu-west"], backup=backup_to(bucket)))
            await store.wait_steady()
            revision, kept = await fill(store, 30)
            await wait_archived(store, revision)
            made = await asyncio.to_thread(rstore, "backup", "now", SOURCE, "--retain", f"--wait={WAIT_SECONDS / 2:g}")
            name = made.stdout.partition(":")[0]
            await fill(store, 5)
        kubectl.run("delete", "rstore", SOURCE)

        async with Store(kubectl, COPY, scratch / COPY) as store:
            source = {"backup": name, "at": {"revision": revision}}
            manifest = small_store(COPY, ["us-east", "eu-west"], backup=backup_to(bucket), bootstrap={"from": source})
            await apply(kubectl, manifest)
            await store.wait_steady()
            shown = await bootstrap_of(store)
            assert (shown["phase"], shown["archivedRevision"]) == ("Completed", revision)
            assert shown["store"] == f"default/{SOURCE}"
            for region in ("us-east", "eu-west"):
                client = store.new_client(region)
                try:
                    assert await contents(client) == kept
                finally:
                    await client.close()
            client = store.new_client()
            try:
                assert await store.writer(client)(b"next", b"value") == shown["revision"] + 1
            finally:
                await client.close()
            await wait_archived(store, shown["revision"] + 1)
            await apply(kubectl, manifest.replace(f"revision: {revision}", f"revision: {revision - 3}"))
            await store.wait_steady()
            assert (await bootstrap_of(store))["archivedRevision"] == revision, "it has no effect any more"
            names = [
                item["metadata"]["name"] for item in (await store.kube_get("deployments,configmaps,secrets"))["items"]
            ]
            assert not [name for name in names if name.startswith(f"{COPY}-restorer")]
            reasons = [reason for _, reason, _ in await store.events()]
            assert {"Restoring", "Restored"} <= set(reasons)
        kubectl.run("delete", "rstore", COPY)
        kubectl.run("delete", "rstorebackup", name)
        kubectl.run("delete", "secret", SECRET)


async def test_a_restore_that_is_corrected_and_killed_goes_on(kubectl: Kubectl, operator: Kubectl, scratch: Path):
    async with served("right") as bucket:
        await apply(kubectl, credentials("right"))
        async with Store(kubectl, LOST, scratch / LOST) as store:
            await apply(kubectl, small_store(LOST, ["us-east"], backup=backup_to(bucket)))
            await store.wait_steady()
            revision, kept = await fill(store, 30)
            await wait_archived(store, revision)
        kubectl.run("delete", "rstore", LOST)
        await apply(kubectl, credentials("wrong"))

        async with Store(kubectl, AGAIN, scratch / AGAIN) as store:
            await apply(kubectl, from_bucket(bucket, {"revision": 999_999}))
            await wait_reason(store, "AccessRefused")
            await refuses_clients(store, "us-east")
            bucket.stall(".rsl")
            await apply(kubectl, credentials("right"))
            await wait_until(lambda: waits(bucket), what="the archive is read", poll_seconds=0.1)
            await killed(store, operator)
            bucket.go_on()
            why = await wait_reason(store, "NotRestorable")
            assert "revision 999999 is not in the archive; it can restore revision" in why
            assert f" {revision} (" in why
            assert (await store.status())["phase"] == "Restoring"
            await refuses_clients(store, "eu-west")

            bucket.stall(".rsl")
            await apply(kubectl, from_bucket(bucket, {"revision": revision}))
            await wait_until(lambda: waits(bucket), what="the archive is read again", poll_seconds=0.1)
            await killed(store, operator)
            await refuses_clients(store, "us-east")
            bucket.go_on()
            await store.wait_steady()
            assert (await bootstrap_of(store))["phase"] == "Completed"
            client = store.new_client("eu-west")
            try:
                assert await contents(client) == kept
            finally:
                await client.close()
        kubectl.run("delete", "rstore", AGAIN)
        kubectl.run("delete", "secret", SECRET)


def from_bucket(bucket: Bucket, at: dict[str, Any]) -> str:
    """A store of two regions that begins with what the bucket has."""
    source = {"destination": DESTINATION, "endpoint": bucket.endpoint, "credentialsSecret": SECRET, "at": at}
    return small_store(AGAIN, ["us-east", "eu-west"], bootstrap={"from": {**source, "store": f"default/{LOST}"}})


async def waits(bucket: Bucket) -> bool:
    return bucket.waiting > 0


async def killed(store: Store, operator: Kubectl) -> None:
    """Kills the restorer and the operator that acts."""
    selector = f"-l=replicatedstore.io/store={store.name},app.kubernetes.io/component=restorer"
    for pod in (await store.kube_get("pods", selector))["items"]:
        await store.kube("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
    await asyncio.to_thread(delete_at_once, operator, await asyncio.to_thread(acting_pod, operator))


async def test_a_store_with_data_is_not_restored(kubectl: Kubectl, operator, scratch: Path):
    del operator
    async with Store(kubectl, SETTLED, scratch / SETTLED) as store:
        await apply(kubectl, small_store(SETTLED, ["us-east"]))
        await store.wait_steady()
        _, kept = await fill(store, 3)
        source = {"destination": "file:///stores", "volumeClaim": CLAIM}
        await apply(kubectl, small_store(SETTLED, ["us-east"], bootstrap={"from": source}))
        assert "was there already" in await wait_reason(store, "Ignored")
        await store.wait_steady()
        client = store.new_client()
        try:
            assert await contents(client) == kept
        finally:
            await client.close()
    refused = kubectl.try_run("apply", "-f", "-", input_text=small_store("odd", ["us-east"], bootstrap={"from": {}}))
    assert "must have either backup or destination" in refused.stderr
    kubectl.run("delete", "rstore", SETTLED)
