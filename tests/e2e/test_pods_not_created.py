"""The store reports why its pods are not created or do not start, whatever refuses them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from rstore_testkit.load import wait_until
from rstore_testkit.tools import Kubectl

PAUSED = "replicatedstore.io/paused"
CLASSLESS = "classless"


@pytest.fixture(scope="module", autouse=True)
def classless(kubectl: Kubectl, operator: Kubectl) -> Iterator[None]:
    """A store that names a StorageClass that does not exist. It waits for its pods while the other test runs."""
    del operator
    regions = [{"name": "us-east", "replicas": 1, "placement": {}, "storage": {"storageClassName": "no-such"}}]
    manifest = {
        "apiVersion": "replicatedstore.io/v1alpha1",
        "kind": "ReplicatedStore",
        "metadata": {"name": CLASSLESS},
        "spec": {"regions": regions, "persistence": {"pvcPolicy": "Delete"}},
    }
    kubectl.run("apply", "-f", "-", input_text=yaml.safe_dump(manifest))
    yield
    kubectl.run("delete", "rstore", CLASSLESS)


async def degraded(store, name: str) -> dict:
    conditions = (await store.kube_get("rstore", name)).get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == "Degraded"), {"status": "Unknown", "message": ""})


async def test_the_refusal_of_a_pod_is_shown(store):
    """Refused as by a quota: the pods' ServiceAccount is gone, and while the store is paused it stays so."""
    name, region = store.name, "eu-west"
    await store.kube("annotate", "rstore", name, f"{PAUSED}=true")
    try:

        async def paused() -> bool:
            conditions = (await store.status())["conditions"]
            return any(item["type"] == "Paused" for item in conditions)

        await wait_until(paused, what="the store is paused")
        await store.kube("delete", "serviceaccount", name)
        await store.kube("delete", "pod", f"{name}-{region}-0")

        async def shown() -> bool:
            condition = await degraded(store, name)
            return condition["status"] == "True" and "no pod was created; create pod" in condition["message"].lower()

        await wait_until(shown, what="the refusal in the condition Degraded")
        assert f'serviceaccount "{name}" not found' in (await degraded(store, name))["message"]
    finally:
        await store.kube("annotate", "rstore", name, f"{PAUSED}-")
    await store.wait_steady()


async def test_a_storage_class_that_does_not_exist_is_shown_while_the_store_is_created(store):
    async def shown() -> bool:
        condition = await degraded(store, CLASSLESS)
        return condition["status"] == "True" and "no-such" in condition["message"]

    await wait_until(shown, what="the StorageClass in the condition Degraded")
    conditions = (await store.kube_get("rstore", CLASSLESS))["status"]["conditions"]
    progressing = next(item for item in conditions if item["type"] == "Progressing")
    assert progressing["reason"] == "Creating"
    assert "no-such" in progressing["message"]


async def test_a_store_that_waits_for_its_pods_takes_a_corrected_spec(store):
    """No pod of the region ever ran; the StatefulSet alone does not replace those that do not start."""
    region = {"name": "us-east", "replicas": 1, "placement": {"nodeSelector": {"no": "such"}}}

    async def correct(**fields: object) -> None:
        patch = json.dumps({"spec": {"regions": [region | fields]}})
        await store.kube("patch", "rstore", CLASSLESS, "--type=merge", f"--patch={patch}")

    await correct(storage={"storageClassName": "no-such"})

    async def placed_nowhere() -> bool:
        pods = (await store.kube_get("pods", f"--selector=replicatedstore.io/store={CLASSLESS}"))["items"]
        return bool(pods) and all("nodeSelector" in pod["spec"] and "no" in pod["spec"]["nodeSelector"] for pod in pods)

    await wait_until(placed_nowhere, what="the pod has the new placement")
    await correct(placement={})

    async def ready() -> bool:
        conditions = (await store.kube_get("rstore", CLASSLESS)).get("status", {}).get("conditions", [])
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    await wait_until(ready, what="the store is created")
    claims = (await store.kube_get("pvc", f"--selector=replicatedstore.io/store={CLASSLESS}"))["items"]
    assert {claim["spec"].get("storageClassName") for claim in claims}.isdisjoint({"no-such"})
