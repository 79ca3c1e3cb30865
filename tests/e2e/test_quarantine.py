"""A primary that was cut off comes back with writes of its own: they are in quarantine, and a person puts them back."""

from __future__ import annotations

import contextlib
import json

import pytest
from localkube.links.control import LinkFaults
from localkube.links.rules import HANG, Fault, LinkRule
from rstore_api.errors import StoreError
from rstore_testkit.load import wait_until
from rstore_testkit.loss import wait_failed_over

pytestmark = pytest.mark.runner

CUT = LinkRule(cut=HANG)
ATTEMPTS = 3


async def tails_of(store, region: str) -> list[dict]:
    status = await store.status()
    return next(one for one in status["regions"] if one["name"] == region).get("quarantined", [])


async def lose_a_tail(store, links: LinkFaults) -> tuple[str, dict, dict]:
    """Makes the primary write what no other region gets, and another take over; returns the region, the receipt, and
    its tail. It is done again where the tenure was over before the first write, as on a busy machine."""
    for _ in range(ATTEMPTS):
        primary = (await store.status())["primaryRegion"]
        before = {tail["file"] for tail in await tails_of(store, primary)}
        receipt = await cut_off(store, links, primary)

        async def is_back(before: set[str] = before, primary: str = primary) -> bool:
            return {tail["file"] for tail in await tails_of(store, primary)} != before

        await store.wait_steady()
        with contextlib.suppress(TimeoutError):
            await wait_until(is_back, timeout_seconds=60, what=f"the tail of {primary}", poll_seconds=0.3)
            [tail] = [one for one in await tails_of(store, primary) if one["file"] not in before]
            return primary, receipt, tail
    raise AssertionError(f"{ATTEMPTS} primaries that were cut off have left no tail")


async def cut_off(store, links: LinkFaults, primary: str) -> dict:
    """Has clients write to a primary that no other region and no operator reaches, until another region is primary, and
    makes the links whole; returns the receipt."""
    inside = store.client(primary)
    for key in (b"q/changed", b"q/untouched", b"q/removed"):
        await inside.put(key, b"shared")
    await store.wait_converged()
    # Its leader reaches nobody but its clients: otherwise it would not count as lost, and nobody would take over.
    others = ["operator", *(region for region in await store.regions() if region != primary)]
    links.replace(Fault(*pair, CUT) for other in others for pair in ((primary, other), (other, primary)))
    try:
        # Within what is left of its tenure it acknowledges; what it has committed is in its tail all the same.
        with contextlib.suppress(StoreError):
            for key in (b"q/new", b"q/changed", b"q/untouched"):
                await inside.put(key, b"lost", timeout_seconds=3)
            await inside.delete(b"q/removed", timeout_seconds=3)
        receipt = await wait_failed_over(store, primary)
        await store.client(receipt["to"]).put(b"q/changed", b"later", timeout_seconds=20)
    finally:
        links.clear()
    return receipt


async def test_a_lost_write_is_shown_compared_and_put_back(store, rstore, data_dir):
    primary, receipt, tail = await lose_a_tail(store, LinkFaults(data_dir))
    revision = await store.wait_converged()
    assert len({one.hash for one in await store.hashes(revision)}) == 1

    name = f"{primary}/{tail['file'].removesuffix('.wal')}"
    messages = await store.wait_event("TailQuarantined", tail["file"], kind="Warning")
    assert any(primary in message for message in messages)

    async def counted() -> bool:
        receipts = (await store.status())["history"]
        lost = next(one.get("revisionsLost") for one in receipts if one["epoch"] == receipt["epoch"])
        return lost == tail["revisions"] >= 1

    await wait_until(counted, what="a receipt with the count of what is in quarantine")

    listed = json.loads(rstore("quarantine", "list", store.name, "-o", "json").stdout)["tails"]
    (listing,) = [one for one in listed if one["name"] == name]
    assert (listing["revisions"], listing["rows"], listing["bytes"]) == (tail["revisions"], tail["rows"], tail["bytes"])
    replicas = next(one["replicas"] for one in (await store.object())["spec"]["regions"] if one["name"] == primary)
    assert len(listing["heldBy"]) == replicas

    rows = json.loads(rstore("quarantine", "show", store.name, name, "--prefix", "q/", "-o", "json").stdout)
    assert [row["key"] for row in rows][:1] == ["q/new"]
    compared = json.loads(rstore("quarantine", "diff", store.name, name, "--prefix", "q/", "-o", "json").stdout)
    verdicts = {one["key"]: one["verdict"] for one in compared["keys"]}
    expected = {"q/new": "absent", "q/changed": "changed", "q/untouched": "unchanged", "q/removed": "unchanged"}
    assert verdicts == {key: expected[key] for key in verdicts}

    assert "put" in rstore("quarantine", "replay", store.name, name, "--key", "q/new").stdout
    assert (await store.client().get(b"q/new")).kvs[0].value == b"lost"
    if "q/changed" in verdicts:
        refused = rstore("quarantine", "replay", store.name, name, "--key", "q/changed", code=1)
        assert "written meanwhile" in refused.stderr
        assert (await store.client().get(b"q/changed")).kvs[0].value == b"later"

    assert "dropped" in rstore("quarantine", "drop", store.name, name, "--yes").stdout

    async def gone() -> bool:
        return tail["file"] not in {one["file"] for one in await tails_of(store, primary)}

    await wait_until(gone, what="a status without the tail", poll_seconds=0.3)
    with contextlib.suppress(StoreError):
        await store.client().delete(b"q/", prefix=True)
