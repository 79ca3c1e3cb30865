"""What the watches show of the objects of stores, by store."""

from __future__ import annotations

from typing import Any

from rstore_api.domain.kubernetes import BACKUP_KIND, CHILD_KINDS, STORE_LABEL
from rstore_operator.cluster.seen_objects import SeenObjects

ORDERS, SHOP = ("team-a", "orders"), ("team-a", "shop")


class Seen:
    def __init__(self) -> None:
        self.changed: list[tuple[str, str]] = []
        self.objects = SeenObjects(lambda *store: self.changed.append(store))

    def put(self, uid: str, version: str = "1", store: str = "orders", namespace: str = "team-a", **more: Any) -> None:
        meta = {"name": uid, "namespace": namespace, "uid": uid, "resourceVersion": version}
        meta["labels"] = {STORE_LABEL: store} if store else {}
        self.objects.put("Secret", {"metadata": {**meta, **more}, "data": {"v": version}})

    def names(self, store: tuple[str, str] = ORDERS) -> list[str]:
        return [body["metadata"]["name"] for body in self.objects.of(store, CHILD_KINDS)]

    def news(self) -> list[tuple[str, str]]:
        changed, self.changed = self.changed, []
        return changed


def test_a_store_has_its_objects_without_managed_fields() -> None:
    seen = Seen()
    seen.put("a", managedFields=[{"manager": "x"}])
    seen.put("b", store="shop")
    assert (seen.names(), seen.names(SHOP), seen.names(("team-b", "orders"))) == (["a"], ["b"], [])
    assert seen.news() == [ORDERS, SHOP]
    (body,) = seen.objects.of(ORDERS, ["Secret"])
    assert body["kind"] == "Secret"
    assert "managedFields" not in body["metadata"]
    assert list(seen.objects.of(ORDERS, ["Pod"])) == []


def test_what_asks_for_a_base_belongs_to_the_store_that_it_names() -> None:
    seen = Seen()
    meta = {"name": "b", "namespace": "team-a", "uid": "u", "resourceVersion": "1", "labels": {STORE_LABEL: "shop"}}
    for spec in ({"store": "orders"}, {}, None):
        seen.objects.put(BACKUP_KIND, {"metadata": {**meta, "uid": f"u-{spec}"}, "spec": spec})
    (body,) = seen.objects.of(ORDERS, [BACKUP_KIND])
    assert body["metadata"]["name"] == "b"
    assert seen.news() == [ORDERS]


def test_only_another_version_is_a_change() -> None:
    seen = Seen()
    seen.put("a", "1")
    seen.put("a", "1")
    assert seen.news() == [ORDERS]
    seen.put("a", "2")
    assert seen.news() == [ORDERS]
    assert [body["data"]["v"] for body in seen.objects.of(ORDERS, ["Secret"])] == ["2"]


def test_an_object_without_a_version_is_always_taken() -> None:
    seen = Seen()
    seen.put("a", "")
    seen.put("a", "")
    assert seen.news() == [ORDERS] * 2


def test_an_object_that_is_given_to_another_store_changes_both() -> None:
    seen = Seen()
    seen.put("a")
    seen.put("a", "2", store="shop")
    assert (seen.names(), seen.names(SHOP)) == ([], ["a"])
    assert seen.news() == [ORDERS, ORDERS, SHOP]
    seen.put("a", "3", store="")
    assert seen.names(SHOP) == []
    assert seen.news() == [SHOP]


def test_what_is_gone_is_gone_once() -> None:
    seen = Seen()
    seen.put("a")
    seen.news()
    seen.objects.drop("a")
    seen.objects.drop("a")
    assert seen.news() == [ORDERS]
    assert seen.names() == []


def test_a_listing_of_one_namespace_says_nothing_of_another() -> None:
    seen = Seen()
    for uid, namespace in (("a", "team-a"), ("b", "team-a"), ("c", "team-b")):
        seen.put(uid, namespace=namespace)
    seen.news()
    seen.objects.keep_only("Pod", None, ())
    assert seen.news() == []
    seen.objects.keep_only("Secret", "team-a", {"b"})
    assert (seen.names(), seen.names(("team-b", "orders"))) == (["b"], ["c"])
    assert seen.news() == [ORDERS]
    seen.objects.keep_only("Secret", None, ())
    assert (seen.names(), seen.names(("team-b", "orders"))) == ([], [])
