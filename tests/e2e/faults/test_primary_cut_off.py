"""The primary region cannot reach the other regions: it must stop acknowledging, even if others still reach it, and
another region must take over, whether or not the operator still reaches it."""

from __future__ import annotations

import asyncio
import time

import pytest
from e2e.faults.scene import GAP_SECONDS, OPERATOR, gap_since, last_acknowledged, stopped_in_time

pytestmark = pytest.mark.runner


@pytest.mark.parametrize(
    ("operator_too", "trigger"),
    [(True, "PrimaryLost"), (False, "LeaseLost")],
    ids=["from_everything_but_its_clients", "from_the_other_regions_only"],
)
async def test_another_region_takes_over_and_what_the_old_one_alone_holds_is_kept(scene, operator_too, trigger):
    """It stops before another region begins. Acknowledged writes that no other region has are counted, and are in
    quarantine when the network is back."""
    store, primary = scene.store, await scene.primary()
    others = await scene.others(primary)
    async with (
        scene.writing([primary], timeout_seconds=2, name=b"inside/") as inside,
        scene.writing(others, name=b"outside/") as outside,
    ):
        began = time.monotonic()
        scene.isolate(primary, *others, *([OPERATOR] if operator_too else []))
        cut_at = time.monotonic()
        receipt = await scene.failed_over(primary)
        await outside.wait_acknowledged(30)
        assert gap_since(outside, began) <= GAP_SECONDS
        stopped_in_time(inside, outside, cut_at)
        stopped = last_acknowledged(inside)
        await asyncio.sleep(1)
        assert last_acknowledged(inside) == stopped, "the old primary goes on acknowledging"
        scene.links.clear()
        await inside.wait_acknowledged(10)
        await store.wait_steady()
    assert (receipt["mode"], receipt["trigger"], receipt["from"]) == ("Automatic", trigger, primary)

    async def counted() -> bool:
        status = await store.status()
        entry = next(one for one in status["history"] if one["epoch"] == receipt["epoch"])
        region = next(region for region in status["regions"] if region["name"] == primary)
        tails = [tail for tail in region.get("quarantined", []) if tail["replacedByEpoch"] == receipt["epoch"]]
        kept = sum(tail["revisions"] for tail in tails)
        return kept > 0 and entry.get("revisionsLost") == kept

    await scene.wait(counted, "a receipt with the count of what is in quarantine")
    await scene.judge(inside, outside)
