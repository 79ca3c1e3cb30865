"""A store object and its children as an API server keeps them, with the rules that the operator depends on.

The status is written on the version that was read; a change of the spec counts a generation; nothing is deleted or
adopted under another uid or version; an object that is applied unchanged stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from rstore_kube.errors import ApiError

Body = dict[str, Any]
ChildKey = tuple[str, str]


class StoredObjects:
    """``store`` is the object, None once it is gone; ``objects`` are its children, by kind and name."""

    def __init__(self, namespace: str, name: str) -> None:
        self._namespace, self._name = namespace, name
        self._version = 1
        self.store: Body | None = None
        self.objects: dict[ChildKey, Body] = {}

    def create(self, uid: str, spec: Mapping[str, Any]) -> Body:
        """Returns a store object without a status."""
        meta = {"name": self._name, "namespace": self._namespace, "uid": uid, "generation": 1, "annotations": {}}
        self.store = {"metadata": {**meta, "resourceVersion": ""}, "spec": copy.deepcopy(dict(spec))}
        self.changed(self.store)
        return self.store

    def changed(self, item: Body) -> None:
        """Gives ``item`` a new version, and notifies watches."""
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)

    def read_store(self) -> Body:
        """Returns the object. Raises ApiError if there is none."""
        if self.store is None:
            raise ApiError(404, "NotFound", "gone")
        return self.store

    def edit(self, spec: Mapping[str, Any]) -> None:
        """Changes the object as a person does."""
        store = self.read_store()
        store["spec"] = copy.deepcopy(dict(spec))
        store["metadata"]["generation"] += 1
        self.changed(store)

    def patch_status(self, patch: Any, version: str) -> Body:
        """Merges into the status; refused unless the object is still of that version."""
        store = self.read_store()
        if version != store["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        store["status"] = merged(store.get("status") or {}, patch)
        self.changed(store)
        return store

    def remove_annotations(self, values: Mapping[str, str]) -> Body:
        """Removes the annotations that still have their values; none if one has changed."""
        store = self.read_store()
        annotations = store["metadata"]["annotations"]
        if any(annotations.get(key) != value for key, value in values.items()):
            raise ApiError(422, "Invalid", "the value to test is another")
        for key in values:
            del annotations[key]
        self.changed(store)
        return store

    def apply(self, manifest: Mapping[str, Any]) -> Body:
        """Makes or changes a child."""
        key = (manifest["kind"], manifest["metadata"]["name"])
        live = self.objects.get(key)
        item: Body = copy.deepcopy(dict(manifest))
        if item["metadata"]["ownerReferences"][0]["uid"] != self.read_store()["metadata"]["uid"]:
            raise ApiError(422, "Invalid", "the owner is gone")
        if key[0] == "Service" and "clusterIP" not in item["spec"]:
            item["spec"]["clusterIP"] = live["spec"]["clusterIP"] if live else f"10.1.0.{len(self.objects) + 1}"
        if live is not None:
            kept = ("uid", "resourceVersion", "generation")
            item["metadata"] |= {name: live["metadata"][name] for name in kept if name in live["metadata"]}
            if "status" in live:
                item["status"] = live["status"]
            if item == live:
                return live
        else:
            item["metadata"]["uid"] = f"child-{self._version}"
        self.objects[key] = item
        self.changed(item)
        return item

    def set_owners(self, kind: str, name: str, owners: Any, version: str) -> Body:
        """Changes a child; refused unless it is still of that version."""
        item = self.objects[kind, name]
        if item["metadata"]["resourceVersion"] != version:
            raise ApiError(409, "Conflict", "the object has been modified")
        item["metadata"]["ownerReferences"] = copy.deepcopy(owners)
        self.changed(item)
        return item

    def delete_child(self, kind: str, name: str, uid: str | None = None) -> Body | None:
        """Deletes a child and returns it, None if there was none. Refused if its uid is not ``uid``."""
        item = self.objects.get((kind, name))
        if item is None:
            return None
        if uid not in (None, item["metadata"].get("uid")):
            raise ApiError(409, "Conflict", "the uid in the precondition is another's")
        del self.objects[kind, name]
        self.changed(item)
        return item


def merged(target: Any, patch: Any) -> Any:
    """Returns the object after a JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
