"""The store's semantics: versions, conflicts, generations, deletion, watches, persistence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from localkube.apiserver.errors import ApiError
from localkube.apiserver.objects.store import Store
from localkube.apiserver.storage.persistence import SqliteFile
from plain_store import plain_store


def make_store(**options: Any) -> Store:
    store = plain_store(**options)
    if store.find("namespaces", None, "default") is None:
        store.create("namespaces", {"metadata": {"name": "default"}})
    return store


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", **metadata}, "spec": {"nodeName": "n1"}}


def test_create_fills_identity_and_orders_versions() -> None:
    store = make_store()
    first = store.create("pods", pod("a"))
    second = store.create("pods", {"metadata": {"generateName": "b-"}}, namespace="default")
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert int(first["metadata"]["resourceVersion"]) < int(second["metadata"]["resourceVersion"])
    assert second["metadata"]["name"].startswith("b-")
    assert len(second["metadata"]["name"]) == 7


def test_create_of_a_taken_name_is_already_exists() -> None:
    store = make_store()
    store.create("pods", pod("a"))
    with pytest.raises(ApiError) as caught:
        store.create("pods", pod("a"))
    assert (caught.value.code, caught.value.reason) == (409, "AlreadyExists")
    assert caught.value.message == 'pods "a" already exists'


def test_create_in_a_missing_namespace_is_not_found() -> None:
    with pytest.raises(ApiError) as caught:
        make_store().create("pods", {"metadata": {"name": "a"}}, namespace="nowhere")
    assert caught.value.message == 'namespaces "nowhere" not found'


def test_stale_update_conflicts_and_changes_nothing() -> None:
    store = make_store()
    stale = store.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}}, namespace="default")
    fresh = store.get("configmaps", "default", "c")
    fresh["data"] = {"a": "2"}
    store.update("configmaps", fresh)
    stale["data"] = {"a": "3"}
    with pytest.raises(ApiError) as caught:
        store.update("configmaps", stale)
    assert caught.value.reason == "Conflict"
    assert store.get("configmaps", "default", "c")["data"] == {"a": "2"}


def test_update_without_change_writes_nothing() -> None:
    store = make_store()
    made = store.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}}, namespace="default")
    before = store.resource_version
    assert store.update("configmaps", made)["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert store.resource_version == before


def test_generation_counts_spec_changes_only_and_status_is_apart() -> None:
    store = make_store()
    spec = {"replicas": 1}
    made = store.create(
        "statefulsets.apps", {"metadata": {"name": "s"}, "spec": spec, "status": {"x": 1}}, namespace="default"
    )
    assert made["metadata"]["generation"] == 1
    assert "status" not in made
    with_status = store.patch_status("statefulsets.apps", "default", "s", {"replicas": 1})
    assert with_status["metadata"]["generation"] == 1
    changed = store.patch("statefulsets.apps", "default", "s", {"spec": {"replicas": 2}, "status": {"replicas": 9}})
    assert changed["metadata"]["generation"] == 2
    assert changed["status"] == {"replicas": 1}
    status_write = store.patch("statefulsets.apps", "default", "s", {"spec": {"replicas": 7}}, subresource="status")
    assert status_write["spec"] == {"replicas": 2}


def test_finalizers_hold_back_deletion_and_cannot_be_added_then() -> None:
    store = make_store()
    store.create("configmaps", {"metadata": {"name": "c", "finalizers": ["x/y"]}}, namespace="default")
    marked, gone = store.delete("configmaps", "default", "c")
    assert not gone
    assert marked["metadata"]["deletionTimestamp"]
    with pytest.raises(ApiError, match="no new finalizers can be added"):
        store.patch("configmaps", "default", "c", {"metadata": {"finalizers": ["x/y", "z/w"]}})
    store.patch("configmaps", "default", "c", {"metadata": {"finalizers": None}})
    assert store.find("configmaps", "default", "c") is None


def test_pod_deletion_is_graceful_until_forced() -> None:
    store = make_store()
    store.create("pods", pod("a"))
    marked, gone = store.delete("pods", "default", "a")
    assert (gone, marked["metadata"]["deletionGracePeriodSeconds"]) == (False, 30)
    _, gone = store.delete("pods", "default", "a", grace_period_seconds=0)
    assert gone


def test_pod_without_node_goes_at_once() -> None:
    store = make_store()
    store.create("pods", {"metadata": {"name": "a"}}, namespace="default")
    assert store.delete("pods", "default", "a")[1]


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_propagation_policy_leaves_its_mark_for_the_collector(policy: str, finalizer: str) -> None:
    store = make_store()
    store.create("statefulsets.apps", {"metadata": {"name": "s"}}, namespace="default")
    marked, gone = store.delete("statefulsets.apps", "default", "s", propagation_policy=policy)
    assert (gone, marked["metadata"]["finalizers"]) == (False, [finalizer])


def test_delete_preconditions() -> None:
    store = make_store()
    store.create("pods", pod("a"))
    with pytest.raises(ApiError, match="does not match the UID in record"):
        store.delete("pods", "default", "a", preconditions={"uid": "another"})


def test_dry_run_stores_nothing() -> None:
    store = make_store()
    store.create("pods", pod("a"), dry_run=True)
    assert store.find("pods", "default", "a") is None


def test_what_comes_out_is_the_callers() -> None:
    store = make_store()
    store.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}}, namespace="default")
    store.get("configmaps", "default", "c")["data"]["a"] = "changed"
    assert store.get("configmaps", "default", "c")["data"] == {"a": "1"}


async def test_watch_sees_objects_enter_and_leave_a_selector() -> None:
    store = make_store()
    watch = store.watch("pods", "default", label_selector="app=x", resource_version=store.resource_version)
    store.create("pods", pod("a", labels={"app": "y"}))
    store.patch("pods", "default", "a", {"metadata": {"labels": {"app": "x"}}})
    store.patch_status("pods", "default", "a", {"phase": "Running"})
    store.patch("pods", "default", "a", {"metadata": {"labels": {"app": "y"}}})
    seen = [await watch.next(1), await watch.next(1), await watch.next(1)]
    assert [event.type for event in seen if event] == ["ADDED", "MODIFIED", "DELETED"]
    assert watch.poll() is None


async def test_watch_from_a_version_resumes_right_after_it() -> None:
    store = make_store()
    first = store.create("pods", pod("a"))
    store.create("pods", pod("b"))
    watch = store.watch("pods", resource_version=first["metadata"]["resourceVersion"])
    event = await watch.next(1)
    assert event is not None
    assert event.object["metadata"]["name"] == "b"


async def test_watch_list_ends_with_its_bookmark() -> None:
    store = make_store()
    store.create("pods", pod("a"))
    watch = store.watch("pods", send_initial_events=True)
    types = []
    for _ in range(2):
        event = await watch.next(1)
        assert event is not None
        types.append(event.type)
    assert types == ["ADDED", "BOOKMARK"]
    assert event.object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_old_versions_and_slow_watches_are_gone() -> None:
    store = make_store(history_capacity=5)
    start = store.resource_version
    slow = store.watch("pods", resource_version=start)
    for index in range(20):
        store.create("pods", pod(f"p{index}"))
    with pytest.raises(ApiError) as caught:
        store.watch("pods", resource_version=start)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    with pytest.raises(ApiError) as caught:
        await slow.next(1)
    assert caught.value.code == 410


def test_objects_and_versions_survive_a_restart(tmp_path: Path) -> None:
    store = make_store(persistence=SqliteFile(tmp_path / "db"))
    store.create("pods", pod("a"))
    store.create("pods", pod("b"))
    store.delete("pods", "default", "b", grace_period_seconds=0)
    version = store.resource_version
    store.close()
    again = make_store(persistence=SqliteFile(tmp_path / "db"))
    assert [item["metadata"]["name"] for item in again.list("pods").items] == ["a"]
    assert again.resource_version == version
    with pytest.raises(ApiError):
        again.watch("pods", resource_version=1 + 1)
    again.close()


def test_field_selectors_of_a_kind() -> None:
    store = make_store()
    store.create("pods", pod("a"))
    assert len(store.list("pods", field_selector="spec.nodeName=n1,metadata.name!=b").items) == 1
    assert not store.list("pods", field_selector="spec.nodeName!=n1").items
    with pytest.raises(ApiError, match="field label not supported"):
        store.list("pods", field_selector="spec.hostname=x")
