"""A change of pod templates reaches one pod at a time, and clients do not notice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from e2e.conftest import LoadRunner
from e2e.manifests import small_store
from e2e.rolling import connecting, is_ready, watching_pods
from rstore_api.domain.kubernetes import pod_selector
from rstore_testkit.load import wait_until
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

REGIONS = ["us-east", "eu-west", "ap-south"]
GAP_SECONDS = 20.0
"""The bound in a test on a busy machine; what is usual is in docs/performance.md."""


def apply(kubectl, name: str, **spec) -> None:
    persistence = {"pvcPolicy": "Delete"}
    kubectl.run("apply", "-f", "-", input_text=small_store(name, REGIONS, persistence=persistence, **spec))


@pytest.fixture(scope="module")
def shops(kubectl, operator) -> Iterator[tuple[str, str]]:
    """Two stores of one replica in each region."""
    del operator
    for name in ("shop", "stock"):
        apply(kubectl, name)
    yield "shop", "stock"
    kubectl.run("delete", "rstore", "shop", "stock")


@pytest.fixture
async def shop(kubectl, shops, tmp_path) -> AsyncIterator[Store]:
    async with Store(kubectl, shops[0], tmp_path / "shop") as store:
        await store.wait_steady()
        yield store


@pytest.fixture
async def stock(kubectl, shops, tmp_path) -> AsyncIterator[Store]:
    async with Store(kubectl, shops[1], tmp_path / "stock") as store:
        await store.wait_steady()
        yield store


async def condition(store: Store, kind: str) -> dict[str, Any]:
    """That condition of the store; {}: it has none."""
    return next((item for item in (await store.status())["conditions"] if item["type"] == kind), {})


async def change_memory(store: Store, memory: str) -> None:
    """One patch for the pods of all regions."""
    patch = [
        {"op": "add", "path": f"/spec/regions/{index}/resources", "value": {"requests": {"memory": memory}}}
        for index in range(len(REGIONS))
    ]
    await store.kube("patch", "rstore", store.name, "--type=json", "-p", json.dumps(patch))

    async def begun() -> bool:
        return (await condition(store, "Progressing")).get("reason") == "RollingOut"

    await wait_until(begun, what="the roll")


async def roll(store: Store, load: LoadRunner, memory: str, capsys) -> list[str]:
    """Rolls the store under load; returns the regions in the order in which their pods went away."""
    primary = (await store.status())["primaryRegion"]
    epoch = (await store.status())["epoch"]
    lost_before = await regions_lost(store)
    async with load.running(regions=[None]) as running, watching_pods(store) as pods, connecting(store) as connections:
        began = time.monotonic()
        await change_memory(store, memory)
        await store.wait_rolled()

        async def back() -> bool:
            return (await store.status())["primaryRegion"] == primary

        await wait_until(back, what=f"{primary} is primary again")
        await store.wait_steady()
        await running.wait_acknowledged(20)
        gap_seconds = running.ledger.longest_gap_seconds(began, time.monotonic())
        took_seconds = time.monotonic() - began
    receipts = [item for item in (await store.status()).get("history", ()) if item["epoch"] > epoch]
    with capsys.disabled():
        gaps = [item["writeGapSeconds"] for item in receipts]
        print(
            f"\n{store.name}: {len(pods.away)} pods in {took_seconds:.1f} s, gap {gap_seconds:.2f} s, receipts {gaps}, "
            f"{len(running.ledger.acknowledged)} writes, {connections.made} connections"
        )
    assert {item["trigger"] for item in receipts} <= {"Rollout"}
    assert connections.refused == []
    assert connections.made > 10
    assert pods.most_away == 1
    assert len(pods.away) == len(set(pods.away))
    assert gap_seconds < GAP_SECONDS
    assert await regions_lost(store) == lost_before, "a pod that is replaced is no loss"
    return pods.regions


async def regions_lost(store: Store) -> list[str]:
    """The messages of all events so far that a region was lost."""
    return [message for kind, reason, message in await store.events() if reason == "RegionLost"]


async def put_primary(store: Store, region: str) -> None:
    """Makes a region the primary, and the one that the spec prefers, where a roll leaves it."""
    if (await store.object())["spec"].get("primaryRegion") != region:
        patch = json.dumps({"spec": {"primaryRegion": region}})
        await store.kube("patch", "rstore", store.name, "--type=merge", "-p", patch)
    elif (await store.status())["primaryRegion"] != region:
        await store.kube("annotate", "rstore", store.name, f"replicatedstore.io/failover-to={region}")
    await store.wait_steady(primary=region)


async def test_three_regions_of_one_replica_are_rolled_in_one_patch(shop, request, capsys):
    """The change reaches all three regions at the same moment; none of them goes before the others are whole."""
    await put_primary(shop, "us-east")
    epoch = (await shop.status())["epoch"]
    order = await roll(shop, LoadRunner(shop, b"roll/one/"), "70Mi", capsys)
    assert order == ["ap-south", "eu-west", "us-east"]
    assert (await shop.status())["epoch"] == epoch + 2, "away from us-east, and back"


async def test_regions_of_three_replicas_keep_the_primary_where_it_is(store, load, capsys):
    primary = "us-east"
    await put_primary(store, primary)
    epoch = (await store.status())["epoch"]
    order = await roll(store, load, "100Mi", capsys)
    assert order[-1] == primary
    assert len(order) == 3
    assert (await store.status())["epoch"] == epoch


async def test_two_stores_are_rolled_in_turn(shop, stock):
    async with watching_pods(shop, stock) as pods:
        await asyncio.gather(change_memory(shop, "71Mi"), change_memory(stock, "71Mi"))
        for store in (shop, stock):
            await store.wait_rolled()
    assert pods.most_away == 1
    assert sorted(pods.stores) == ["shop", "stock"], "one after the other"


@pytest.mark.runner
async def test_a_pod_that_is_lost_while_a_roll_is_blocked_comes_back_from_the_template_before(shop, kubectl):
    """The image is wrong in the pod that tried it, and nowhere else."""

    async def set_image(image: str | None) -> None:
        await shop.kube(
            "patch", "rstore", shop.name, "--type=merge", "-p", json.dumps({"spec": {"pods": {"image": image}}})
        )

    async def blocked() -> bool:
        return bool(await condition(shop, "RolloutBlocked"))

    async def lost() -> dict[str, Any]:
        return (await shop.kube_get("pods", f"-l={pod_selector(shop.name, 'eu-west')}"))["items"][0]

    async def came_back() -> bool:
        pods = (await shop.kube_get("pods", f"-l={pod_selector(shop.name, 'eu-west')}"))["items"]
        return [is_ready(pod) and pod["metadata"]["uid"] != before["metadata"]["uid"] for pod in pods] == [True]

    await put_primary(shop, "us-east")  # so that eu-west is not the first region
    before = await lost()
    await set_image("no-such-replica:1")
    try:
        await wait_until(blocked, what="RolloutBlocked")
        assert "eu-west" not in (await condition(shop, "RolloutBlocked"))["message"]
        await asyncio.to_thread(kubectl.run, "delete", "pod", before["metadata"]["name"])
        await wait_until(came_back, what="eu-west is whole again")
        [container] = (await lost())["spec"]["containers"]
        assert container["image"] == before["spec"]["containers"][0]["image"]
        assert await blocked()
    finally:
        await set_image(None)

    async def unblocked() -> bool:
        return not await blocked()

    await shop.wait_rolled()
    await wait_until(unblocked, what="no RolloutBlocked")


async def use_image(operator: Kubectl, image: str) -> str:
    """Gives the operator another image for replicas, as an upgrade of the chart does; returns the one of before."""
    [deployment] = (await asyncio.to_thread(operator.get, "deployments"))["items"]
    name, [container] = deployment["metadata"]["name"], deployment["spec"]["template"]["spec"]["containers"]
    before = next(item["value"] for item in container["env"] if item["name"] == "RSTORE_REPLICA_IMAGE")
    await asyncio.to_thread(operator.run, "set", "env", f"deployment/{name}", f"RSTORE_REPLICA_IMAGE={image}")
    arguments = ("rollout", "status", "deployment", name, f"--timeout={WAIT_SECONDS:g}s")
    await asyncio.to_thread(operator.run, *arguments, timeout_seconds=WAIT_SECONDS + 10)
    return str(before)


@pytest.mark.runner
async def test_a_wrong_image_breaks_one_pod_of_one_store_and_correcting_it_repairs(operator, store, shop, stock):
    """It reaches every store at the same moment."""
    stores = (store, shop, stock)

    async def blocked() -> list[str]:
        statuses = {one.name: await one.status() for one in stores}
        return [
            name
            for name, status in statuses.items()
            if any(item["type"] == "RolloutBlocked" for item in status["conditions"])
        ]

    async def is_blocked() -> bool:
        return bool(await blocked())

    loads = [LoadRunner(one, b"image/") for one in (shop, stock)]
    async with (
        loads[0].running(regions=[None]) as one,
        loads[1].running(regions=[None]) as other,
        watching_pods(*stores) as pods,
    ):
        right = await use_image(operator, "no-such-replica:1")
        try:
            await wait_until(is_blocked, what="RolloutBlocked")
            for load in (one, other):
                await load.wait_acknowledged(100)
            assert len(await blocked()) == 1
            assert len(pods.away) == 1, pods.away
        finally:
            await use_image(operator, right)
        for store in stores:
            await store.wait_rolled()
    assert len(set(pods.away)) == 1, pods.away

    async def unblocked() -> bool:
        return not await blocked()

    await wait_until(unblocked, what="no RolloutBlocked")
