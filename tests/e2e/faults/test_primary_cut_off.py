"""The primary region cannot reach the other regions: it must stop acknowledging, whoever else still reaches it."""

from __future__ import annotations

import asyncio
import time

import pytest
from e2e.faults.scene import OPERATOR, gap_since

LEASE_SECONDS = 3.0


def last_acknowledged(load) -> float:
    return load.ledger.acks[-1].answered_at


@pytest.mark.timeout(300)
async def test_cut_off_from_everything_but_its_clients(scene):
    """It stops before another region begins, and what it could not acknowledge any more is not lost silently."""
    primary = await scene.primary()
    others = await scene.others(primary)
    async with (
        scene.writing([primary], timeout_seconds=2, name=b"inside/") as inside,
        scene.writing(others, name=b"outside/") as outside,
    ):
        began = time.monotonic()
        scene.isolate(primary, *others, OPERATOR)
        receipt = await scene.failed_over(primary)
        await outside.wait_acknowledged(30, timeout_seconds=30)
        assert gap_since(outside, began) <= 12
        stopped = last_acknowledged(inside)
        assert stopped - began <= LEASE_SECONDS
        first_outside = min(
            ack.answered_at for ack in outside.ledger.acks if ack.answered_at > began + LEASE_SECONDS / 2
        )
        assert stopped < first_outside, "both acknowledged"
        await asyncio.sleep(1)
        assert last_acknowledged(inside) == stopped, "the old primary goes on acknowledging"
        scene.links.clear()
        await inside.wait_acknowledged(10, timeout_seconds=60)
        await scene.store.wait_steady(timeout_seconds=120)
    assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
    await scene.judge(inside, outside)


@pytest.mark.timeout(300)
async def test_cut_off_from_the_other_regions_only(scene):
    """No majority grants: nothing is acknowledged. The operator still reaches its leader, so it is not lost either; a
    person who accepts what that leader alone holds to be quarantined moves the primary."""
    store = scene.store
    primary, epoch = await scene.primary(), (await store.status())["epoch"]
    others = await scene.others(primary)
    async with scene.writing([primary], timeout_seconds=2) as load:
        began = time.monotonic()
        scene.isolate(primary, *others)
        await asyncio.sleep(LEASE_SECONDS + 3)  # what is waited for is that nothing happens
        assert last_acknowledged(load) - began <= LEASE_SECONDS
        status = await store.status()
        assert (status["primaryRegion"], status["epoch"]) == (primary, epoch)
        wishes = {"failover-to": others[0], "failover-mode": "forced", "accept-data-loss": str(epoch)}
        annotations = [f"replicatedstore.io/{name}={value}" for name, value in wishes.items()]
        await store.kube("annotate", "rstore", store.name, *annotations)
        receipt = await scene.failed_over(primary)
        assert (receipt["mode"], receipt["to"]) == ("Forced", others[0])
        scene.links.clear()
        await load.wait_acknowledged(20, timeout_seconds=30)
        await store.wait_steady(primary=others[0], timeout_seconds=120)
    await scene.judge(load)
