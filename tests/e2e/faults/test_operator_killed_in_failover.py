"""The operator dies the moment a step of an automatic failover is in `.status`; the next one completes it."""

from __future__ import annotations

import asyncio
import signal

import pytest
from e2e.faults.scene import LONG
from e2e.faults.watching import wait_for_step
from localkube.processes import signal_all

pytestmark = pytest.mark.runner

STEPS = ["Fencing", "Waiting", "Promoting", "Repointing"] if LONG else ["Promoting"]


@pytest.mark.parametrize("step", STEPS)
async def test_another_operator_completes_the_failover(scene, step):
    primary = await scene.primary()
    async with scene.writing(await scene.others(primary)) as load:
        watching = asyncio.create_task(asyncio.to_thread(wait_for_step, scene.store.kubectl, scene.store.name, step))
        operators = scene.pids("rstore-replicated-store-operator")
        assert operators
        with scene.hanging(primary):
            assert await watching, f"no step {step} was seen"
            signal_all(operators, signal.SIGKILL)
            receipt = await scene.failed_over(primary)
            await load.wait_acknowledged(20)
        await scene.store.wait_steady()
    assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
    await scene.judge(load)
