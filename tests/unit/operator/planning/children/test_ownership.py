"""Objects and volumes that are there already: adopted when they are this store's, left alone when they are not."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.planning.children.ownership import Standing, standing
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import ReplicaImage, StoreRef
from unit.operator.fake_api import FakeApi
from unit.operator.test_reconcile import _condition
from unit.operator.world import REF, START

IMAGE = ReplicaImage("replica:1")
STORE = "replicatedstore.io/store"
REGION = "replicatedstore.io/region"


def reconciler(api: FakeApi, ref: StoreRef = REF) -> Reconciler:
    moments = iter(range(10_000))

    def clock() -> float:
        return next(moments) * 0.05

    return Reconciler(Sites(Site(ref, api, _Labelled(api), clock)), IMAGE, now=lambda: START, clock=clock)


class _Labelled:
    """A watch by the store's label, as the operator has it."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api

    def children(self) -> list[dict[str, Any]]:
        objects = self._api.objects.values()
        return [item for item in objects if item["metadata"].get("labels", {}).get(STORE) == "orders"]

    def pods(self) -> list[dict[str, Any]]:
        return []

    def requested_bases(self) -> list[dict[str, Any]]:
        return []

    def claims(self) -> list[dict[str, Any]]:
        return []


@pytest.fixture
async def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def loop(api: FakeApi) -> AsyncIterator[Reconciler]:
    made = reconciler(api)
    yield made
    await made.close()


def theirs(kind: str, name: str, **meta: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "uid": "x", "resourceVersion": "1", **meta}, "spec": {}}


@pytest.mark.parametrize("kind", ["Service", "ServiceAccount"])
async def test_a_new_store_with_a_name_that_is_taken_is_not_begun(api: FakeApi, loop: Reconciler, kind: str) -> None:
    api.objects[kind, "orders"] = theirs(kind, "orders")
    before = copy.deepcopy(api.objects)
    for _ in range(6):
        await loop.step()
    assert api.objects == before
    assert set(api.writes) == {"status"}
    degraded = _condition(api, "Degraded")
    assert degraded["reason"] == "NameTaken"
    assert f"{kind}/orders was made by somebody else" in degraded["message"]
    assert "choose another name for the store" in degraded["message"]
    assert "NameTaken" not in _condition(api, "Ready")["reason"]
    assert f"{kind}/orders" in _condition(api, "Progressing")["message"], "not that it waits for a leader"
    assert api.events.count("NameTaken") == 1


async def test_the_name_of_a_region_that_is_taken_stops_a_new_store_too(api: FakeApi, loop: Reconciler) -> None:
    controller = {"kind": "Deployment", "name": "web", "uid": "d", "controller": True, "apiVersion": "apps/v1"}
    api.objects["ConfigMap", "orders-eu-west"] = theirs("ConfigMap", "orders-eu-west", ownerReferences=[controller])
    for _ in range(6):
        await loop.step()
    assert set(api.objects) == {("ConfigMap", "orders-eu-west")}
    assert "ConfigMap/orders-eu-west is controlled by Deployment web" in _condition(api, "Degraded")["message"]
    assert "choose another name for the region" in _condition(api, "Degraded")["message"]


async def test_the_advice_is_readable_however_many_names_are_taken(api: FakeApi, loop: Reconciler) -> None:
    for region in ("us-east", "eu-west", "ap-south"):
        for kind in ("ConfigMap", "Service", "StatefulSet", "PodDisruptionBudget"):
            name = f"orders-{region}"
            api.objects[kind, name] = theirs(kind, name, labels={STORE: "orders", REGION: region})
    for _ in range(4):
        await loop.step()
    message = _condition(api, "Degraded")["message"]
    assert "and 7 more" in message
    assert "choose another name for the region" in message


async def test_a_store_goes_on_when_the_name_is_free_again(api: FakeApi, loop: Reconciler) -> None:
    api.objects["Service", "orders"] = theirs("Service", "orders")
    for _ in range(4):
        await loop.step()
    del api.objects["Service", "orders"]
    for _ in range(200):
        await loop.step()
    assert ("StatefulSet", "orders-us-east") in api.objects
    assert _condition(api, "Degraded")["reason"] != "NameTaken"


async def test_a_region_with_a_name_that_is_taken_waits_and_the_running_ones_go_on(
    api: FakeApi, loop: Reconciler
) -> None:
    for _ in range(6):
        await loop.step()
    api.objects["Service", "orders-sa-east-peers"] = theirs("Service", "orders-sa-east-peers")
    assert api.store is not None
    api.store["spec"]["regions"].append({"name": "sa-east", "replicas": 1})
    del api.objects["ConfigMap", "orders-us-east"]
    loop.invalidate()
    for _ in range(6):
        await loop.step()
    made = {name for _, name in api.objects if "sa-east" in name}
    assert made == {"orders-sa-east-peers"}
    assert ("ConfigMap", "orders-us-east") in api.objects
    assert "orders-sa-east-peers was made by somebody else" in _condition(api, "Degraded")["message"]


async def test_a_volume_of_another_store_is_not_used(api: FakeApi, loop: Reconciler) -> None:
    labels = {STORE: "orders-eu", REGION: "west"}
    api.claim_objects["data-orders-eu-west-0"] = {"metadata": {"name": "data-orders-eu-west-0", "labels": labels}}
    for _ in range(6):
        await loop.step()
    assert api.objects == {}, "a new store is made whole or not at all"
    degraded = _condition(api, "Degraded")
    assert degraded["reason"] == "ForeignVolume"
    said = "data-orders-eu-west-0 holds data of region west of store orders-eu, not of region eu-west of store orders"
    assert said in degraded["message"]
    del api.claim_objects["data-orders-eu-west-0"]
    for _ in range(200):
        await loop.step()
    assert ("StatefulSet", "orders-eu-west") in api.objects


@pytest.mark.parametrize("labels", [{}, {STORE: "orders", REGION: "eu-west"}])
async def test_a_volume_of_this_region_or_one_that_does_not_say_is_used(
    api: FakeApi, loop: Reconciler, labels: dict[str, str]
) -> None:
    api.claim_objects["data-orders-eu-west-0"] = {"metadata": {"name": "data-orders-eu-west-0", "labels": labels}}
    for _ in range(6):
        await loop.step()
    assert ("StatefulSet", "orders-eu-west") in api.objects


async def test_a_region_does_not_grow_onto_the_volume_of_another_store(api: FakeApi, loop: Reconciler) -> None:
    for _ in range(6):
        await loop.step()
    before = copy.deepcopy(api.objects["StatefulSet", "orders-us-east"])
    running = before["spec"]["replicas"]
    name = f"data-orders-us-east-{running}"
    api.claim_objects[name] = {"metadata": {"name": name, "labels": {STORE: "orders-us", REGION: "east"}}}
    assert api.store is not None
    api.store["spec"]["regions"][0]["replicas"] = running + 2
    for _ in range(6):
        loop.invalidate()
        await loop.step()
    live = api.objects["StatefulSet", "orders-us-east"]
    assert live["spec"]["replicas"] == running


# ------------------------------------------------------------------------------------------ adoption
def orphaned(api: FakeApi, owners: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The store's object is made anew, with another uid, around the objects of the one before."""
    assert api.store is not None
    api.store = {"metadata": {**api.store["metadata"], "uid": "second"}, "spec": api.store["spec"]}
    api.stored.changed(api.store)
    for item in api.objects.values():
        item["metadata"]["ownerReferences"] = owners(item["metadata"]["ownerReferences"])
        api.stored.changed(item)
    api.writes.clear()
    api.events.clear()
    return copy.deepcopy(api.objects)


@pytest.mark.parametrize("restored", ["without owners", "with owners that are gone"])
async def test_orphans_of_the_store_are_adopted_as_they_are(api: FakeApi, loop: Reconciler, restored: str) -> None:
    for _ in range(6):
        await loop.step()
    before = orphaned(api, (lambda _: []) if restored == "without owners" else (lambda owners: owners))
    second = reconciler(api, StoreRef(REF.namespace, REF.name, "second"))
    for _ in range(8):
        await second.step()
    await second.close()
    assert set(api.objects) == set(before)
    for key, item in api.objects.items():
        owners = item["metadata"]["ownerReferences"]
        assert [owner["uid"] for owner in owners] == ["second"], key
        assert item.get("data") == before[key].get("data"), key
        spec, known = item.get("spec", {}), before[key].get("spec", {})
        assert spec.get("template") == known.get("template"), "pods are not restarted"
    assert api.events.count("Adopted") == len(before)
    assert "AuthorityCreated" not in api.events
    first_apply = next(index for index, write in enumerate(api.writes) if "/" in write and "adopt" not in write)
    assert all("adopt" not in write for write in api.writes[first_apply:]), "nothing is made before all are adopted"


async def test_an_orphan_that_changed_meanwhile_is_looked_at_again(api: FakeApi, loop: Reconciler) -> None:
    for _ in range(6):
        await loop.step()
    orphaned(api, lambda _: [])
    answer = api.answer
    beaten = []

    async def overtaken(request: str, work: Any) -> Any:
        if request == "patch Secret/orders-ca" and not beaten:
            beaten.append(request)
            api.stored.changed(api.objects["Secret", "orders-ca"])
        return await answer(request, work)

    api.answer = overtaken  # type: ignore[method-assign]
    second = reconciler(api, StoreRef(REF.namespace, REF.name, "second"))
    for _ in range(8):
        await second.step()
    await second.close()
    assert beaten
    assert api.objects["Secret", "orders-ca"]["metadata"]["ownerReferences"][0]["uid"] == "second"


def labelled(**more: Any) -> dict[str, Any]:
    labels = {STORE: "orders", REGION: "eu-west", "app.kubernetes.io/managed-by": "rstore-operator"}
    return {"metadata": {"name": "orders-eu-west", "labels": labels, **more}}


def owner(uid: str = "old", **more: Any) -> dict[str, Any]:
    kind = {"apiVersion": "replicatedstore.io/v1alpha1", "kind": "ReplicatedStore", "name": "orders"}
    return {**kind, "uid": uid, "controller": True, **more}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (labelled(ownerReferences=[owner(REF.uid)]), Standing.OURS),
        (labelled(), Standing.ORPHAN),
        (labelled(ownerReferences=[]), Standing.ORPHAN),
        (labelled(ownerReferences=[owner()]), Standing.ORPHAN),
        (labelled(ownerReferences=[owner(controller=False, kind="Project")]), Standing.ORPHAN),
        (labelled(ownerReferences=[owner(name="other")]), Standing.FOREIGN),
        (labelled(ownerReferences=[owner(kind="Deployment", apiVersion="apps/v1")]), Standing.FOREIGN),
        (labelled(deletionTimestamp="2026-01-01T00:00:00Z"), Standing.FOREIGN),
        (labelled(labels={STORE: "orders", REGION: "eu-west"}), Standing.FOREIGN),
        (labelled(labels={STORE: "orders-eu", REGION: "west"}), Standing.FOREIGN),
        ({"metadata": {"name": "orders-eu-west"}}, Standing.FOREIGN),
    ],
)
def test_whose_an_object_is(body: dict[str, Any], expected: Standing) -> None:
    assert standing(REF, ("ConfigMap", "orders-eu-west"), body) is expected


def test_a_copy_with_our_labels_and_another_name_is_not_adopted() -> None:
    assert standing(REF, ("ConfigMap", "orders-eu-west-copy"), labelled()) is Standing.FOREIGN
