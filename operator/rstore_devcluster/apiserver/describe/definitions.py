"""Serving what CustomResourceDefinitions define, and cleaning up when they go."""

from __future__ import annotations

from rstore_devcluster.apiserver.jsonobj import JsonObject
from rstore_devcluster.apiserver.objects.resources import Registry
from rstore_devcluster.apiserver.schema.crd import CLEANUP_FINALIZER, resources_of
from rstore_devcluster.apiserver.storage.history import Change
from rstore_devcluster.apiserver.storage.store import Store

CRDS = "customresourcedefinitions.apiextensions.k8s.io"


class Definitions:
    """Keeps the registry in step with the stored definitions."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._watched: set[str] = set()
        for stored in store.peek_all(CRDS):
            self._serve(stored.obj)
        store.observe(CRDS, self._changed)

    def _changed(self, change: Change) -> None:
        crd = change.after.obj
        if change.deleted:
            self._registry.remove(crd["spec"]["group"], crd["spec"]["names"]["plural"])
            self._store.end_watches(change.after.name)
        elif crd["metadata"].get("deletionTimestamp"):
            self._clean_up(change.after.name)
        else:
            self._serve(crd)

    def _serve(self, crd: JsonObject) -> None:
        resources = resources_of(crd)
        served = {resource.version for resource in resources}
        for resource in self._registry.all():
            if resource.custom and resource.key == crd["metadata"]["name"] and resource.version not in served:
                self._registry.remove(resource.group, resource.plural)
                break
        for resource in resources:
            self._registry.add(resource)
            if resource.key not in self._watched:
                self._watched.add(resource.key)
                self._store.observe(resource.key, self._instance_changed)

    def _instance_changed(self, change: Change) -> None:
        if not change.deleted:
            return
        for resource in self._registry.all():
            if resource.custom and resource.kind == change.after.obj.get("kind"):
                self._finish(resource.key)

    def _clean_up(self, name: str) -> None:
        """Delete every instance; the definition goes when the last one has (some may wait for their finalizers)."""
        for stored in self._store.peek_all(name):
            if not stored.obj["metadata"].get("deletionTimestamp"):
                self._store.delete(name, stored.namespace, stored.name)
        self._finish(name)

    def _finish(self, name: str) -> None:
        crd = self._store.peek(CRDS, "", name)
        if crd is None or not crd.obj["metadata"].get("deletionTimestamp") or self._store.peek_all(name):
            return
        finalizers = crd.obj["metadata"].get("finalizers") or []
        if CLEANUP_FINALIZER in finalizers:
            left = [item for item in finalizers if item != CLEANUP_FINALIZER]
            self._store.patch(CRDS, None, name, {"metadata": {"finalizers": left}})
