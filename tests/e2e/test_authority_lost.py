"""The certificate authority is deleted under load: nothing stops, and people learn what to do and by when."""

from __future__ import annotations

import time

from e2e.faults.scene import UNNOTICED_SECONDS
from rstore_api.client import Client
from rstore_api.errors import StoreError
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store


async def stage(store: Store) -> str:
    conditions = (await store.status()).get("conditions", [])
    return next((item["reason"] for item in conditions if item["type"] == "AuthorityChanging"), "")


async def replacements(store: Store) -> list[str]:
    """Returns the messages of all events so far that the authority was replaced."""
    return [text for kind, reason, text in await store.events() if (kind, reason) == ("Warning", "AuthorityReplaced")]


async def wait_for_stage(store: Store, expected: str) -> None:
    async def reached() -> bool:
        return await stage(store) == expected

    await wait_until(reached, what=f"stage {expected!r} of the authority", poll_seconds=0.3)


async def test_the_authority_is_deleted_under_load(store, load, kubectl, tmp_path):
    old = Store(kubectl, store.name, tmp_path / "old").write_certificates()
    epoch, before = (await store.status())["epoch"], await replacements(store)
    async with load.running() as running:
        began = time.monotonic()
        await store.kube("delete", "secret", f"{store.name}-ca")
        await wait_for_stage(store, "IssueFromNew")
        await running.wait_acknowledged(100)
        for region in await store.regions():
            async with Client([store.endpoint(region)], tls=old) as client:
                await client.put(b"old-certificate", region.encode())
        assert running.ledger.longest_gap_seconds(began, time.monotonic()) < UNNOTICED_SECONDS
    assert (await store.status())["epoch"] == epoch, "no failover"

    async def reported() -> bool:
        return len(await replacements(store)) > len(before)

    await wait_until(reported, what="an Event that the authority was replaced")
    [message] = (await replacements(store))[len(before) :]
    assert f"{store.name}-client-tls" in message


async def test_the_time_of_clients_is_ended_by_a_person(store, load, kubectl, tmp_path):
    old = Store(kubectl, store.name, tmp_path / "old").write_certificates()
    epoch = (await store.status())["epoch"]
    await store.kube("delete", "secret", f"{store.name}-ca")

    async def issued() -> bool:
        fresh = store.write_certificates()
        return fresh.cert.read_bytes() != old.cert.read_bytes() and await stage(store) == "IssueFromNew"

    await wait_until(issued, what="a client's certificate of the new authority", poll_seconds=0.3)
    async with load.running() as running:
        began = time.monotonic()
        over = "replicatedstore.io/previous-authorities-until=2020-01-01T00:00:00Z"
        await store.kube("annotate", "--overwrite", "secret", f"{store.name}-ca", over)
        await wait_for_stage(store, "")
        await running.wait_acknowledged(100)
        assert running.ledger.longest_gap_seconds(began, time.monotonic()) < UNNOTICED_SECONDS
    assert (await store.status())["epoch"] == epoch, "no failover"

    async def old_one_is_refused() -> bool:
        try:
            async with Client([store.endpoint("us-east")], tls=old) as client:
                await client.put(b"old-certificate", b"refused", timeout_seconds=3)
        except StoreError:
            return True
        return False

    await wait_until(old_one_is_refused, what="the old certificate refused", poll_seconds=0.5)
