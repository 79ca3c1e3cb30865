"""The volume of a region of one replica moves to another StorageClass while writers write."""

from __future__ import annotations

import json

import pytest
import yaml
from e2e.cluster import EXISTING
from e2e.conftest import LoadRunner
from e2e.manifests import small_store
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store

NAME, CLASS = "moved", "moved-here"


def another_class(kubectl) -> None:
    """Makes a class as the default one under another name; skips where the cluster's volumes are made by a person."""
    classes = kubectl.get("storageclasses")["items"]
    default = "storageclass.kubernetes.io/is-default-class"
    usual = [item for item in classes if item["metadata"].get("annotations", {}).get(default) == "true"]
    if EXISTING and not usual:
        pytest.skip("no default StorageClass in this cluster")
    fields = ("apiVersion", "kind", "provisioner", "volumeBindingMode", "parameters")
    body = {key: usual[0][key] for key in fields if key in usual[0]} | {"metadata": {"name": CLASS}}
    kubectl.run("apply", "-f", "-", input_text=json.dumps(body))


async def test_a_region_of_one_replica_moves_under_load(kubectl, operator, scratch):
    del operator
    another_class(kubectl)
    spec = yaml.safe_load(small_store(NAME, ["us-east"], persistence={"pvcPolicy": "Delete"}))
    try:
        async with Store(kubectl, NAME, scratch / NAME) as store:
            kubectl.run("apply", "-f", "-", input_text=json.dumps(spec))
            await store.wait_steady()
            before = kubectl.get("pvc", f"data-{NAME}-us-east-0")["metadata"]["uid"]
            most: set[str] = set()

            async def moved() -> bool:
                pods = (await store.kube_get("pods", f"-l=replicatedstore.io/store={NAME}"))["items"]
                most.update(pod["metadata"]["name"] for pod in pods)
                listed = (await store.kube_get("pvc", f"-l=replicatedstore.io/store={NAME}"))["items"]
                claims = {one["metadata"]["name"]: one for one in listed}
                claim = claims.get(f"data-{NAME}-us-east-0")
                of_class = claim is not None and claim["spec"]["storageClassName"] == CLASS
                return of_class and len(pods) == 1

            load = LoadRunner(store, b"moved/")
            async with load.running(regions=[None]) as running:  # type: ignore[list-item]
                spec["spec"]["regions"][0]["storage"]["storageClassName"] = CLASS
                kubectl.run("apply", "-f", "-", input_text=json.dumps(spec))
                await wait_until(moved, what="a volume of the class", poll_seconds=1.0)
                await store.wait_steady()
                await running.wait_acknowledged(20)
            assert most == {f"{NAME}-us-east-{ordinal}" for ordinal in range(3)}
            assert kubectl.get("pvc", f"data-{NAME}-us-east-0")["metadata"]["uid"] != before
            await store.wait_event("PodReplaced", f'"{CLASS}" is wanted')
            assert (await store.status())["epoch"] == 1
    finally:
        kubectl.try_run("delete", "rstore", NAME)
        kubectl.try_run("delete", "storageclass", CLASS)
