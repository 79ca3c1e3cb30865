"""Moving the primary while writers write: by annotation, by editing the spec, and back."""

from __future__ import annotations

import time

from e2e.faults.scene import GAP_SECONDS
from rstore_testkit.load import wait_until


async def test_switchover_by_annotation_loses_nothing(store, load):
    source = (await store.status())["primaryRegion"]
    target = next(region for region in await store.regions() if region != source)
    epoch = (await store.status())["epoch"]
    async with load.running() as running:
        began = time.monotonic()
        await store.kube("annotate", "rstore", store.name, f"replicatedstore.io/failover-to={target}")
        await store.wait_steady(primary=target)
        await running.wait_acknowledged(50)
        assert running.ledger.longest_gap_seconds(began, time.monotonic()) < GAP_SECONDS
    status = await store.status()
    assert status["epoch"] == epoch + 1
    receipt = status["history"][-1]
    assert (receipt["from"], receipt["to"], receipt["epoch"]) == (source, target, epoch + 1)
    assert receipt["writeGapSeconds"] >= 0

    async def answered() -> bool:
        return "replicatedstore.io/failover-to" not in (await store.object())["metadata"].get("annotations", {})

    await wait_until(answered, what="annotation removed")
    service = await store.kube_get("service", store.name)
    assert service["spec"]["selector"]["replicatedstore.io/region"] == target


async def test_editing_the_preferred_primary_is_a_switchover(store, load):
    source = (await store.status())["primaryRegion"]
    spec_primary = (await store.object())["spec"].get("primaryRegion")
    target = next(region for region in await store.regions() if region not in (source, spec_primary))
    async with load.running() as running:
        await store.kube(
            "patch", "rstore", store.name, "--type=merge", "-p", f'{{"spec":{{"primaryRegion":"{target}"}}}}'
        )
        await store.wait_steady(primary=target)
        await running.wait_acknowledged(20)
    assert (await store.object())["spec"]["primaryRegion"] == target


async def test_three_switchovers_in_a_row_under_one_load(store, load):
    epoch = (await store.status())["epoch"]
    async with load.running() as running:
        for _ in range(3):
            source = (await store.status())["primaryRegion"]
            order = await store.regions()
            target = order[(order.index(source) + 1) % len(order)]
            await store.kube("annotate", "rstore", store.name, f"replicatedstore.io/failover-to={target}")
            await store.wait_steady(primary=target)
            await running.wait_acknowledged(20)
    assert (await store.status())["epoch"] == epoch + 3
