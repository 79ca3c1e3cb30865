"""The operator cannot reach the primary region, everyone else can: nothing is moved, no write is lost or late."""

from __future__ import annotations

import asyncio
import time

import pytest
from e2e.faults.scene import LONG, OPERATOR, UNNOTICED_SECONDS, gap_since

pytestmark = pytest.mark.runner

CUT_SECONDS = 30 if LONG else 8
"""This is several times the failover delay of 2 s."""


async def test_no_failover_while_a_majority_sees_the_tenure_renewed(scene):
    primary, epoch = await scene.primary(), (await scene.store.status())["epoch"]
    async with scene.writing() as load:
        began = time.monotonic()
        scene.isolate(OPERATOR, primary)
        acknowledged = len(load.ledger.acks)
        await asyncio.sleep(CUT_SECONDS)  # what is waited for is that nothing happens
        status = await scene.store.status()
        assert (status["primaryRegion"], status["epoch"]) == (primary, epoch)
        assert "failover" not in status
        assert len(load.ledger.acks) > acknowledged
        await load.wait_acknowledged(50)
        assert gap_since(load, began) < UNNOTICED_SECONDS

        async def shown() -> bool:
            """The operator does not pretend to see it."""
            ready = await scene.condition("Ready")
            regions = {region["name"]: region["phase"] for region in (await scene.store.status())["regions"]}
            return (ready["status"], ready["reason"]) == ("Unknown", "NotReached") and regions[primary] != "Ready"

        await scene.wait(shown, f"Ready=Unknown NotReached, and {primary} not Ready")
        scene.links.clear()
        await scene.store.wait_steady(primary=primary)
    await scene.judge(load, nothing_quarantined=True)
    assert (await scene.store.status())["epoch"] == epoch
