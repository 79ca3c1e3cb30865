"""The primary region cannot reach the other regions: it must stop acknowledging, whoever else still reaches it."""

from __future__ import annotations

import asyncio
import time

import pytest
from e2e.faults.scene import LEASE_SECONDS, OPERATOR, gap_since, last_acknowledged, stopped_in_time


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
        stopped_in_time(inside, outside, began)
        stopped = last_acknowledged(inside)
        await asyncio.sleep(1)
        assert last_acknowledged(inside) == stopped, "the old primary goes on acknowledging"
        scene.links.clear()
        await inside.wait_acknowledged(10, timeout_seconds=60)
        await scene.store.wait_steady(timeout_seconds=120)
    assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
    await scene.judge(inside, outside)


@pytest.mark.timeout(300)
async def test_cut_off_from_the_other_regions_only(scene):
    """No majority grants: nothing is acknowledged. The operator reaches its leader, and replaces it all the same; what
    that leader alone holds is counted exactly, and in quarantine when the network is back."""
    primary = await scene.primary()
    others = await scene.others(primary)
    async with (
        scene.writing([primary], timeout_seconds=2, name=b"inside/") as inside,
        scene.writing(others, name=b"outside/") as outside,
    ):
        began = time.monotonic()
        scene.isolate(primary, *others)
        receipt = await scene.failed_over(primary)
        await outside.wait_acknowledged(30, timeout_seconds=30)
        assert gap_since(outside, began) <= 12
        stopped = last_acknowledged(inside)
        assert stopped - began <= LEASE_SECONDS
        scene.links.clear()
        await inside.wait_acknowledged(20, timeout_seconds=60)
        await scene.store.wait_steady(timeout_seconds=120)
    assert (receipt["mode"], receipt["trigger"], receipt["from"]) == ("Automatic", "LeaseLost", primary)
    await scene.judge(inside, outside)
