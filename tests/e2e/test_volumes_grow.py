"""A region's volumes are made larger by its spec while writers write: claims grow, no pod is touched, none shrinks."""

from __future__ import annotations

import json
import time

import pytest
from rstore_cli.demo.load import wait_until

JSON_PATCH = "--type=json"


def patch_of(index: int, size: str) -> str:
    return json.dumps([{"op": "replace", "path": f"/spec/regions/{index}/storage/size", "value": size}])


@pytest.mark.timeout(300)
async def test_volumes_grow_under_load(store, load, kubectl):
    classes = kubectl.get("storageclasses")["items"]
    if not any(item.get("allowVolumeExpansion") for item in classes):
        pytest.skip("no StorageClass of this cluster expands volumes")
    region = "us-east"
    index = (await store.regions()).index(region)
    selector = f"-l=replicatedstore.io/store={store.name},replicatedstore.io/region={region}"

    async def pods() -> dict[str, tuple[str, int]]:
        listed = (await store.kube_get("pods", selector))["items"]
        return {
            pod["metadata"]["name"]: (
                pod["metadata"]["uid"],
                sum(state["restartCount"] for state in pod["status"]["containerStatuses"]),
            )
            for pod in listed
        }

    async def capacities() -> set[str]:
        claims = (await store.kube_get("pvc", selector))["items"]
        return {claim["status"]["capacity"]["storage"] for claim in claims}

    async def template() -> str:
        done = kubectl.try_run("get", "statefulset", f"{store.name}-{region}", "-o", "json")
        if done.returncode:
            return ""
        claim = json.loads(done.stdout)["spec"]["volumeClaimTemplates"][0]
        return str(claim["spec"]["resources"]["requests"]["storage"])

    before, epoch = await pods(), (await store.status())["epoch"]
    async with load.running() as running:
        began = time.monotonic()
        await store.kube("patch", "rstore", store.name, JSON_PATCH, "-p", patch_of(index, "30Gi"))

        async def grown() -> bool:
            return await capacities() == {"30Gi"} and await template() == "30Gi"

        await wait_until(grown, timeout_seconds=60, what="claims and template of 30Gi", poll_seconds=0.3)
        await store.wait_steady()
        await running.wait_acknowledged(50, timeout_seconds=30)
        assert running.ledger.longest_gap_seconds(began, time.monotonic()) < 3
    assert await pods() == before, "the same pods, none restarted"
    assert (await store.status())["epoch"] == epoch
    owners = {
        owner["uid"]
        for pod in (await store.kube_get("pods", selector))["items"]
        for owner in pod["metadata"]["ownerReferences"]
    }
    live = await store.kube_get("statefulset", f"{store.name}-{region}")
    assert owners == {live["metadata"]["uid"]}, "the new StatefulSet has adopted them"

    same = kubectl.try_run("patch", "rstore", store.name, JSON_PATCH, "-p", patch_of(index, "30720Mi"))
    assert same.returncode == 0, same.stderr
    refused = kubectl.try_run("patch", "rstore", store.name, JSON_PATCH, "-p", patch_of(index, "29Gi"))
    assert refused.returncode != 0
    assert "must not be smaller than it was, volumes can only grow" in refused.stderr
    await store.wait_steady()
    assert await pods() == before
