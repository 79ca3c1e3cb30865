"""A region's volumes are made larger by its spec while writers write: claims grow, no pod is touched, none shrinks."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from e2e.cluster import EXISTING
from e2e.faults.scene import UNNOTICED_SECONDS
from e2e.manifests import small_store
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store

JSON_PATCH = "--type=json"


def patch_of(index: int, size: str) -> str:
    return json.dumps([{"op": "replace", "path": f"/spec/regions/{index}/storage/size", "value": size}])


def expanding_class(kubectl) -> dict[str, Any]:
    """A StorageClass that expands volumes. An existing cluster may have none, which skips the test."""
    classes: list[dict[str, Any]] = kubectl.get("storageclasses")["items"]
    able = [item for item in classes if item.get("allowVolumeExpansion")]
    if EXISTING and not able:
        pytest.skip("no StorageClass of this cluster expands volumes")
    return able[0]


async def test_volumes_grow_under_load(store, load, kubectl):
    expanding_class(kubectl)
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

    kubectl.run("rollout", "restart", "statefulset", f"{store.name}-{region}")  # it is not done again for growing
    await store.wait_rolled()
    before, epoch = await pods(), (await store.status())["epoch"]
    async with load.running() as running:
        began = time.monotonic()
        await store.kube("patch", "rstore", store.name, JSON_PATCH, "-p", patch_of(index, "30Gi"))

        async def grown() -> bool:
            return await capacities() == {"30Gi"} and await template() == "30Gi"

        await wait_until(grown, what="claims and template of 30Gi", poll_seconds=0.3)
        await store.wait_steady()
        await running.wait_acknowledged(50)
        assert running.ledger.longest_gap_seconds(began, time.monotonic()) < UNNOTICED_SECONDS
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


async def test_a_class_that_does_not_expand_is_reported_until_it_does(kubectl, operator, scratch):
    del operator
    usual = expanding_class(kubectl)
    fields = ("apiVersion", "kind", "provisioner", "volumeBindingMode", "parameters")
    fixed = {key: usual[key] for key in fields if key in usual} | {"metadata": {"name": "fixed-size"}}
    kubectl.run("apply", "-f", "-", input_text=json.dumps(fixed))
    regions = [{"name": "us-east", "replicas": 1, "storage": {"size": "1Gi", "storageClassName": "fixed-size"}}]
    manifest = {**yaml.safe_load(small_store("fixed", ["us-east"])), "spec": {"regions": regions}}
    try:
        async with Store(kubectl, "fixed", scratch / "fixed") as store:
            kubectl.run("apply", "-f", "-", input_text=json.dumps(manifest))
            await store.wait_steady()
            await store.kube("patch", "rstore", "fixed", JSON_PATCH, "-p", patch_of(0, "2Gi"))

            async def condition(kind: str) -> dict[str, str]:
                conditions = (await store.status())["conditions"]
                return next((item for item in conditions if item["type"] == kind), {})

            async def reported() -> bool:
                return (await condition("Degraded")).get("reason") == "VolumesNotGrown"

            await wait_until(reported, what="a condition that says why", poll_seconds=1.0)
            message = (await condition("Degraded"))["message"]
            assert "data-fixed-us-east-0 has 1Gi" in message
            assert "the storageclass that provisions the pvc must support resize" in message

            kubectl.run("patch", "storageclass", "fixed-size", "--type=merge", "-p", '{"allowVolumeExpansion":true}')

            async def grown() -> bool:
                claim = kubectl.get("pvc", "data-fixed-us-east-0")
                return claim["status"]["capacity"]["storage"] == "2Gi" and await condition("VolumesGrowing") == {}

            await wait_until(grown, what="a claim of 2Gi", poll_seconds=0.5)
            await store.wait_steady()
    finally:
        kubectl.try_run("delete", "rstore", "fixed")
        kubectl.try_run("delete", "storageclass", "fixed-size")
