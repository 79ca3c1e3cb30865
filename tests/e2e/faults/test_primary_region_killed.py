"""Every pod of the primary region is killed under load and kept away: another region takes over by itself."""

from __future__ import annotations

import time

from e2e.faults.scene import GAP_SECONDS, gap_since
from rstore_testkit.loss import lose_region, restore_region


async def test_another_region_takes_over_and_the_lost_one_rejoins(scene):
    store = scene.store
    primary = await scene.primary()
    epoch = (await store.status())["epoch"]
    async with scene.writing(await scene.others(primary)) as load:
        began = time.monotonic()
        try:
            await lose_region(store, primary)
            receipt = await scene.failed_over(primary)
            await load.wait_acknowledged(50)
            assert gap_since(load, began) < GAP_SECONDS
        finally:
            await restore_region(store, primary)
        await store.wait_steady()
    assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
    assert receipt["epoch"] > epoch
    assert [step["name"] for step in receipt["steps"]] == ["Fencing", "Waiting", "Promoting", "Repointing"]
    for reason in ("FailoverFencing", "FailoverPromoting", "FailoverSucceeded"):
        await store.wait_event(reason)
    await scene.judge(load)
