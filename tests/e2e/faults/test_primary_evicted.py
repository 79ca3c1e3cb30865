"""The pods of a primary region are deleted or evicted in good order: it refuses writes and loses nothing."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import yaml
from e2e.faults.scene import GAP_SECONDS, LONG, Scene, gap_since
from e2e.manifests import small_store
from rstore_testkit.store import Store

NAME = "lone"
REGIONS = ["us-east", "eu-west", "ap-south"]
ROUNDS = 3 if LONG else 1


@pytest.fixture(scope="module", params=[1, 2], ids=["one replica", "two replicas"])
def replicas(request, kubectl, operator):
    """A store whose regions have that many replicas each."""
    del operator
    manifest = json.dumps(_with_replicas(request.param))
    kubectl.run("apply", "-f", "-", input_text=manifest)
    yield request.param
    kubectl.run("delete", "rstore", NAME)


def _with_replicas(count: int) -> dict:
    store = yaml.safe_load(small_store(NAME, REGIONS, persistence={"pvcPolicy": "Delete"}))
    resources = {"requests": {"cpu": "50m", "memory": "96Mi"}}
    for region in store["spec"]["regions"]:
        region |= {"resources": resources}
    store["spec"]["regions"][0]["replicas"] = store["spec"]["regions"][1]["replicas"] = count
    return store


@pytest.fixture
async def lone(replicas, kubectl, scratch, request):
    async with Store(kubectl, NAME, scratch / f"lone-{replicas}-certificates") as store:
        await store.wait_steady()
        yield Scene(store, f"fault/{request.node.name}/".encode())


async def _evict(kubectl, pods: list[str]) -> None:
    """Evicts pods as ``kubectl drain`` does; the budget refuses a second one until the first is back."""
    for pod in pods:
        metadata = {"name": pod, "namespace": kubectl.namespace}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
        await asyncio.to_thread(kubectl.run, "create", "--raw", path, "-f", "-", input_text=json.dumps(eviction))


async def _delete(kubectl, pods: list[str]) -> None:
    await asyncio.to_thread(kubectl.run, "delete", "pod", *pods, "--wait=false")


@pytest.mark.parametrize("how", ["evicted", "all deleted"])
async def test_nothing_acknowledged_is_left_behind(lone, kubectl, replicas, how):
    for _ in range(ROUNDS):
        primary = await lone.primary()
        count = (await lone.store.status())["regions"]
        names = [f"{NAME}-{primary}-{number}" for number in range(_replicas_of(count, primary))]
        async with lone.writing(await lone.others(primary), name=str(time.monotonic_ns()).encode()) as load:
            began = time.monotonic()
            await (_evict(kubectl, names[:1]) if how == "evicted" else _delete(kubectl, names))
            receipt = await lone.failed_over(primary)
            await load.wait_acknowledged(50)
            assert gap_since(load, began) < GAP_SECONDS
        assert (receipt["trigger"], receipt["mode"]) == ("PrimaryStopping", "Planned")
        await lone.store.wait_steady()
        await lone.judge(load, nothing_quarantined=True)


def _replicas_of(regions: list[dict], name: str) -> int:
    return next(region["replicas"] for region in regions if region["name"] == name)
