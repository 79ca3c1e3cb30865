"""Every process of the primary region hangs: connections stay, answers do not come. It counts as lost all the same."""

from __future__ import annotations

import time

import pytest
from e2e.faults.scene import GAP_SECONDS, gap_since

pytestmark = pytest.mark.runner


async def test_failover_as_if_it_had_been_killed(scene):
    primary = await scene.primary()
    async with scene.writing(await scene.others(primary), per_region=2) as load:
        began = time.monotonic()
        with scene.hanging(primary):
            receipt = await scene.failed_over(primary)
            await load.wait_acknowledged(20)
            gap_seconds = gap_since(load, began)
        await scene.store.wait_steady()
    assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
    assert gap_seconds < GAP_SECONDS
    await scene.judge(load)
