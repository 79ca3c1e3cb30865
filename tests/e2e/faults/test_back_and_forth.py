"""Failovers back and forth: each old primary comes back with its tail, and is the next one's heir."""

from __future__ import annotations

import pytest
from e2e.faults.scene import LONG

pytestmark = pytest.mark.runner

TIMES = 20 if LONG else 3


async def test_failovers_back_and_forth(scene):
    """Every second time the next primary is lost at once, before the region that returns has rejoined."""
    epoch = (await scene.store.status())["epoch"]
    async with scene.writing(timeout_seconds=3) as load:
        for number in range(TIMES):
            primary = await scene.primary()
            with scene.hanging(primary):
                await scene.failed_over(primary)
                await load.wait_acknowledged(20)
            if number % 2:
                await scene.store.wait_steady()
        await scene.store.wait_steady()
    assert (await scene.store.status())["epoch"] >= epoch + TIMES
    await scene.judge(load)
