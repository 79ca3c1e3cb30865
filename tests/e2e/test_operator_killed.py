"""The operator dies during a switchover; the next one completes it from `.status`."""

from __future__ import annotations

import asyncio
import datetime
import json

import pytest
from e2e.operators import acting_pod, delete_at_once, no_operator
from rstore_testkit.load import wait_until


async def test_data_plane_works_without_the_operator(store, load, operator):
    async with no_operator(operator), load.running() as running:
        await running.wait_acknowledged(100)
    await store.wait_steady()


@pytest.mark.parametrize("delay_seconds", [0.0, 0.1, 0.25])
async def test_operator_killed_while_the_switchover_goes_on(store, load, operator, delay_seconds):
    source = (await store.status())["primaryRegion"]
    target = next(region for region in await store.regions() if region != source)

    async def begun() -> bool:
        status = await store.status()
        return bool(status.get("failover")) or status["primaryRegion"] == target

    async with load.running() as running:
        await store.kube("annotate", "rstore", store.name, f"replicatedstore.io/failover-to={target}")
        await wait_until(begun, what="switchover begun", poll_seconds=0.0)
        await asyncio.sleep(delay_seconds)  # different steps, as the machine will have it
        await asyncio.to_thread(delete_at_once, operator, acting_pod(operator))
        await store.wait_steady(primary=target)
        await running.wait_acknowledged(50)


async def test_a_new_operator_completes_a_switchover_of_which_only_the_intent_was_recorded(store, load, operator):
    """The state a crash leaves right after the commit point: it is in `.status`, and nothing has been done."""
    status = await store.status()
    source, epoch = status["primaryRegion"], status["epoch"]
    target = next(region for region in await store.regions() if region != source)
    async with load.running() as running:
        async with no_operator(operator):
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            failover = {
                "mode": "Planned",
                "trigger": "Annotation",
                "from": source,
                "to": target,
                "fromEpoch": epoch,
                "epoch": epoch + 1,
                "step": "Demoting",
                "startedAt": now,
                "steps": [{"name": "Demoting", "startedAt": now}],
            }
            patch = json.dumps({"status": {"failover": failover, "phase": "SwitchingOver"}})
            await store.kube("patch", "rstore", store.name, "--subresource=status", "--type=merge", "-p", patch)
        await store.wait_steady(primary=target)
        await running.wait_acknowledged(50)
    assert (await store.status())["epoch"] == epoch + 1
