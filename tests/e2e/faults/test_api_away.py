"""The Kubernetes API does not answer the operator: reads and writes go on, and a failover waits until it is back."""

from __future__ import annotations

import asyncio
import time

import pytest
from e2e.faults.scene import API, OPERATOR, UNNOTICED_SECONDS, gap_since

pytestmark = pytest.mark.runner

AWAY_SECONDS = 5.0


async def test_failover_waits_for_the_api_and_then_happens(scene):
    """Without a record of the intent nothing may be done; with it everything is as if it had been there."""
    primary, epoch = await scene.primary(), (await scene.store.status())["epoch"]
    others = await scene.others(primary)
    async with scene.writing(others) as load:
        began = time.monotonic()
        scene.isolate(OPERATOR, API)
        await load.wait_acknowledged(100)
        assert gap_since(load, began) < UNNOTICED_SECONDS, "the data plane needs no control plane"
        with scene.hanging(primary):
            await asyncio.sleep(AWAY_SECONDS)
            assert (await scene.store.status())["epoch"] == epoch
            scene.links.clear()
            receipt = await scene.failed_over(primary)
            await load.wait_acknowledged(20)
        await scene.store.wait_steady()
    assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
    await scene.judge(load)
