"""One secondary can take hardly anything: it falls behind, the status shows it, nothing waits for it, it catches up."""

from __future__ import annotations

import time

import pytest
from e2e.faults.scene import UNNOTICED_SECONDS, gap_since
from localkube.links.rules import LinkRule

pytestmark = pytest.mark.runner

SLOW = LinkRule(bytes_per_second=4000)


async def test_a_slow_region_lags_and_holds_nobody_up(scene):
    store, primary = scene.store, await scene.primary()
    slow = (await scene.others(primary))[-1]
    through = [region for region in await store.regions() if region != slow]
    async with scene.writing(through) as load:
        began = time.monotonic()
        scene.links.set(primary, slow, SLOW, both_ways=False)
        value = b"x" * 4000
        for number in range(30):
            await store.client(primary).put(b"bulk/%d" % number, value)

        async def lags() -> bool:
            slow_region = next(region for region in (await store.status())["regions"] if region["name"] == slow)
            return slow_region.get("lagSeconds", 0) >= 2

        await scene.wait(lags, f"{slow} lags")
        assert (await store.status())["primaryRegion"] == primary
        assert gap_since(load, began) < UNNOTICED_SECONDS
        scene.links.clear()
        await store.wait_steady(primary=primary)
    await scene.judge(load, nothing_quarantined=True)
