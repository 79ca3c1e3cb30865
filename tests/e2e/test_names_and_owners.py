"""A store whose names others have, one around whose objects it was deleted, and a namespace without an operator."""

from __future__ import annotations

import json

from e2e.manifests import small_store
from rstore_testkit.load import wait_until
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store

REGION = "us-east"


def condition(kubectl, name, kind):
    store = kubectl.get("replicatedstores", name)
    conditions = [one for one in store.get("status", {}).get("conditions", []) if one["type"] == kind]
    return conditions[0] if conditions else {"reason": "", "message": ""}


def pods_of(kubectl, store):
    listed = kubectl.get("pods", f"-l=replicatedstore.io/store={store}")["items"]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in listed}


async def until_reason(kubectl, name, reason):
    async def probe():
        return condition(kubectl, name, "Degraded")["reason"] == reason

    await wait_until(probe, what=f"{name}: {reason}", poll_seconds=0.3)


async def test_a_store_called_like_a_service_account_is_not_begun(kubectl, operator):
    del operator
    account = kubectl.get("serviceaccounts", "default")
    kubectl.run("apply", "-f", "-", input_text=small_store("default", [REGION]))
    try:
        await until_reason(kubectl, "default", "NameTaken")
        assert "ServiceAccount/default" in condition(kubectl, "default", "Degraded")["message"]
        made = kubectl.get("statefulsets,services,secrets,configmaps,pods", "-l=replicatedstore.io/store=default")
        assert made["items"] == []
    finally:
        kubectl.run("delete", "rstore", "default")
    assert kubectl.get("serviceaccounts", "default") == account


async def test_a_store_that_is_deleted_around_its_objects_is_taken_up_as_it_is(kubectl, operator, scratch):
    del operator
    manifest = small_store("orphaned", [REGION, "eu-west"])
    async with Store(kubectl, "orphaned", scratch / "orphaned") as store:
        kubectl.run("apply", "-f", "-", input_text=manifest)
        await store.wait_steady()
        await store.client(REGION).put(b"a", b"1")
        pods = pods_of(kubectl, "orphaned")
        authority = kubectl.get("secrets", "orphaned-ca")["data"]
        epoch = (await store.status())["epoch"]
        kubectl.run("delete", "rstore", "orphaned", "--cascade=orphan")
        assert (await store.client(REGION).get(b"a")).kvs[0].value == b"1"
        kubectl.run("apply", "-f", "-", input_text=manifest)
        await store.wait_steady()
        assert pods_of(kubectl, "orphaned") == pods
        assert kubectl.get("secrets", "orphaned-ca")["data"] == authority
        assert (await store.status())["epoch"] == epoch
        await store.client(REGION).put(b"a", b"2")
    uid = kubectl.get("replicatedstores", "orphaned")["metadata"]["uid"]
    owners = kubectl.get("statefulsets", f"orphaned-{REGION}")["metadata"]["ownerReferences"]
    assert [owner["uid"] for owner in owners] == [uid]
    kubectl.run("delete", "rstore", "orphaned")


async def test_a_volume_of_another_store_is_left_alone(kubectl, operator, scratch):
    """Region west of shelf-eu and region eu-west of shelf would have objects of the same names."""
    del operator
    async with Store(kubectl, "shelf", scratch / "shelf") as store:
        kubectl.run("apply", "-f", "-", input_text=small_store("shelf", ["eu-west"]))
        await store.wait_steady()
        await store.client("eu-west").put(b"a", b"1")
    kubectl.run("delete", "rstore", "shelf")
    before = kubectl.get("persistentvolumeclaims", "data-shelf-eu-west-0")
    other = _any_placement("shelf-eu", "west")
    kubectl.run("apply", "-f", "-", input_text=json.dumps(other))
    await until_reason(kubectl, "shelf-eu", "ForeignVolume")
    assert "region eu-west of store shelf" in condition(kubectl, "shelf-eu", "Degraded")["message"]
    assert pods_of(kubectl, "shelf-eu") == {}
    kubectl.run("delete", "rstore", "shelf-eu")
    after = kubectl.get("persistentvolumeclaims", "data-shelf-eu-west-0")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    async with Store(kubectl, "shelf", scratch / "shelf-again") as store:
        kubectl.run("apply", "-f", "-", input_text=small_store("shelf", ["eu-west"]))
        await store.wait_steady()
        assert (await store.client("eu-west").get(b"a")).kvs[0].value == b"1"
    kubectl.run("delete", "rstore", "shelf")


async def test_a_namespace_goes_while_no_operator_is_there(kubectl, operator):
    kubectl.run("create", "namespace", "going")
    manifest = _any_placement("small", "any")
    kubectl.run("apply", "-n", "going", "-f", "-", input_text=json.dumps(manifest))
    kubectl.run(
        "wait",
        "-n",
        "going",
        "--for=condition=Ready",
        "rstore/small",
        f"--timeout={WAIT_SECONDS:g}s",
        timeout_seconds=WAIT_SECONDS + 10,
    )
    [deployment] = operator.get("deployments")["items"]
    name = deployment["metadata"]["name"]
    operator.run("scale", "deployment", name, "--replicas=0")
    try:
        operator.run(
            "wait", "--for=delete", "pod", "--all", f"--timeout={WAIT_SECONDS:g}s", timeout_seconds=WAIT_SECONDS + 10
        )
        kubectl.run("delete", "namespace", "going", f"--timeout={WAIT_SECONDS:g}s", timeout_seconds=WAIT_SECONDS + 10)
    finally:
        operator.run("scale", "deployment", name, f"--replicas={deployment['spec']['replicas']}")
        operator.run(
            "rollout", "status", "deployment", name, f"--timeout={WAIT_SECONDS:g}s", timeout_seconds=WAIT_SECONDS + 10
        )


def _any_placement(name, region):
    return {
        "apiVersion": "replicatedstore.io/v1alpha1",
        "kind": "ReplicatedStore",
        "metadata": {"name": name},
        "spec": {"regions": [{"name": region, "replicas": 1, "placement": {}, "storage": {"size": "1Gi"}}]},
    }
