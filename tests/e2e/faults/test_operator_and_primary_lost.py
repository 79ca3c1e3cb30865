"""The acting operator is lost together with the primary region: the other operator has another region take over."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from e2e.faults.scene import GAP_SECONDS, gap_since
from e2e.operators import acting_pod, delete_at_once, pods, ready
from localkube.processes import signal_all
from rstore_testkit.loss import lose_region, restore_region

pytestmark = pytest.mark.runner


async def test_another_region_writes_within_seconds(scene, operator, capsys):
    await ready(operator)
    primary, lost = await scene.primary(), acting_pod(operator)
    async with scene.writing(await scene.others(primary)) as load:
        began = time.monotonic()
        try:
            signal_all([*scene.pids(lost), *scene.pids(f"{scene.store.name}-{primary}-")], signal.SIGKILL)
            await asyncio.gather(asyncio.to_thread(delete_at_once, operator, lost), lose_region(scene.store, primary))
            receipt = await scene.failed_over(primary)
            await load.wait_acknowledged(50)
            gap = gap_since(load, began)
        finally:
            await restore_region(scene.store, primary)
        await scene.store.wait_steady()
    with capsys.disabled():
        print(f"\noperator and primary region lost together: another region wrote after {gap:.2f} s")
    assert lost not in pods(operator)
    assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
    assert gap < GAP_SECONDS
    await scene.judge(load)
    await ready(operator)
