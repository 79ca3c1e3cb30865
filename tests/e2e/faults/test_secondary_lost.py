"""A secondary region is lost: the primary goes on as if nothing were, and the region catches up when it is back."""

from __future__ import annotations

import time

from e2e.faults.scene import UNNOTICED_SECONDS, gap_since
from rstore_testkit.loss import lose_region, restore_region


async def test_writes_go_on_without_a_pause(scene):
    primary, epoch = await scene.primary(), (await scene.store.status())["epoch"]
    lost = (await scene.others(primary))[0]
    through = [region for region in await scene.store.regions() if region != lost]
    async with scene.writing(through) as load:
        began = time.monotonic()
        try:
            await lose_region(scene.store, lost)
            await load.wait_acknowledged(300)
            assert gap_since(load, began) < UNNOTICED_SECONDS
        finally:
            await restore_region(scene.store, lost)
        await scene.store.wait_steady(primary=primary)
    assert (await scene.store.status())["epoch"] == epoch
    await scene.judge(load, nothing_quarantined=True)
