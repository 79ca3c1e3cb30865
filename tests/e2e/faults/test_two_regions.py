"""A store of two regions: the operator is the third voter, its witness."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from e2e.faults.scene import (
    GAP_SECONDS,
    OPERATOR,
    TENURE_SECONDS,
    UNNOTICED_SECONDS,
    BreakableScene,
    gap_since,
    sent_after,
)
from rstore_testkit.store import Store

pytestmark = pytest.mark.runner

FAILOVER_DELAY_SECONDS = 2.0
NAME = "pair"


def manifest() -> str:
    region = {
        "replicas": 1,
        "storage": {"size": "1Gi"},
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}},
    }
    return json.dumps(
        {
            "apiVersion": "replicatedstore.io/v1alpha1",
            "kind": "ReplicatedStore",
            "metadata": {"name": NAME},
            "spec": {
                "regions": [{"name": "us-east", **region}, {"name": "eu-west", **region}],
                "persistence": {"pvcPolicy": "Delete"},
            },
        }
    )


@pytest.fixture(scope="module")
def pair(kubectl, operator):
    del operator
    kubectl.run("apply", "-f", "-", input_text=manifest())
    yield NAME
    kubectl.run("delete", "rstore", NAME)


@pytest.fixture
async def two(pair, kubectl, links, data_dir, scratch, request):
    async with Store(kubectl, pair, scratch / "pair-certificates") as store:
        await store.wait_steady()
        yield BreakableScene(store, links, data_dir, f"fault/{request.node.name}/".encode())


async def test_the_other_region_and_the_witness_replace_a_lost_primary(two):
    primary = await two.primary()
    async with two.writing(await two.others(primary), per_region=2) as load:
        began = time.monotonic()
        with two.hanging(primary):
            receipt = await two.failed_over(primary)
            await load.wait_acknowledged(20)
            assert gap_since(load, began) < GAP_SECONDS
        await two.store.wait_steady()
    assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
    await two.judge(load)


async def test_without_its_witness_the_primary_needs_the_other_region(two):
    primary, epoch = await two.primary(), (await two.store.status())["epoch"]
    other = (await two.others(primary))[0]
    async with two.writing([primary], per_region=2, timeout_seconds=2) as load:
        began = time.monotonic()
        two.isolate(OPERATOR, primary, other)
        await asyncio.sleep(2 * TENURE_SECONDS)  # what is waited for is that nothing happens
        assert gap_since(load, began) < UNNOTICED_SECONDS, "two of three voters are there"
        with two.hanging(other):
            lost_at = time.monotonic()
            await asyncio.sleep(TENURE_SECONDS + 1)
            assert not sent_after(load, lost_at + TENURE_SECONDS), "one of three voters is no majority"
            assert (await two.store.status())["epoch"] == epoch
        await load.wait_acknowledged(20)
        two.links.clear()
        await two.store.wait_steady(primary=primary)
    assert (await two.store.status())["epoch"] == epoch
    await two.judge(load, nothing_quarantined=True)


async def test_cut_off_from_each_other_the_primary_goes_on_with_the_witness(two):
    primary, epoch = await two.primary(), (await two.store.status())["epoch"]
    async with two.writing([primary], per_region=2) as load:
        began = time.monotonic()
        two.isolate(primary, *await two.others(primary))
        await asyncio.sleep(2 * TENURE_SECONDS + FAILOVER_DELAY_SECONDS)  # what is waited for is that nothing happens
        await load.wait_acknowledged(20)
        assert gap_since(load, began) < UNNOTICED_SECONDS, "two of three voters are there"
        status = await two.store.status()
        assert (status["primaryRegion"], status["epoch"]) == (primary, epoch)
        assert "failover" not in status
        two.links.clear()
        await two.store.wait_steady(primary=primary)
    assert (await two.store.status())["epoch"] == epoch
    await two.judge(load, nothing_quarantined=True)
