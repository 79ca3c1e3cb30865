"""Serving what CustomResourceDefinitions define, from their acceptance to their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import structlog

from localkube.apiserver.errors import ApiError
from localkube.apiserver.jsonobj import JsonObject, format_time
from localkube.apiserver.objects.store import Store
from localkube.apiserver.resources import Registry, Resource
from localkube.apiserver.schema.crd import resources_of, stored_resource
from localkube.apiserver.schema.definition.life import (
    CLEANUP_FINALIZER,
    ESTABLISHED,
    deleted,
    deleting_status,
    has_condition,
    next_status,
)
from localkube.apiserver.schema.provider import Schemas
from localkube.apiserver.schema.pruning import apply_defaults, prune
from localkube.apiserver.storage.history import Change

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
MANAGER = "kube-apiserver"
_log = structlog.get_logger(__name__)


class Definitions:
    """Takes definitions through their life, a step after each write, and keeps the registry in step with them.

    ``later`` is given what is to be done once the present request is answered: conditions come after the creation.
    """

    def __init__(
        self, store: Store, registry: Registry, schemas: Schemas, later: Callable[[Callable[[], None]], object]
    ) -> None:
        self._store = store
        self._registry = registry
        self._schemas = schemas
        self._later = later
        self._pending: dict[str, None] = {}
        self._observed: set[str] = set()
        for stored in store.peek_all(CRDS):
            self._serve(stored.obj)
        store.observe(CRDS, self._changed)

    def start(self) -> None:
        """Take up every definition where an earlier run left it."""
        for stored in self._store.peek_all(CRDS):
            self._enqueue(stored.name)

    def settle(self) -> None:
        """Take all steps that are due; one that fails does not hold up those of other definitions."""
        while self._pending:
            name = next(iter(self._pending))
            del self._pending[name]
            try:
                self._step(name)
            except ApiError as error:
                # The next change of the definition, or of one of its objects, takes it up again.
                _log.warning("definitions.step_failed", definition=name, error=error.message)

    def _enqueue(self, name: str) -> None:
        if not self._pending:
            self._later(self.settle)
        self._pending[name] = None

    def _changed(self, change: Change) -> None:
        crd, name = change.after.obj, change.after.name
        if change.deleted:
            self._registry.remove(crd["spec"]["group"], crd["spec"]["names"]["plural"])
            self._store.end_watches(name)
        else:
            self._serve(crd)
            self._enqueue(name)
        before = change.before.obj["status"]["acceptedNames"] if change.before is not None else {}
        if change.deleted or crd["status"]["acceptedNames"] != before:
            for other in self._others(crd):
                self._enqueue(other["metadata"]["name"])

    def _others(self, crd: JsonObject) -> Iterator[JsonObject]:
        """Yields the other definitions of a definition's group."""
        for stored in self._store.peek_all(CRDS):
            if stored.name != crd["metadata"]["name"] and stored.obj["spec"]["group"] == crd["spec"]["group"]:
                yield stored.obj

    def _step(self, name: str) -> None:
        stored = self._store.peek(CRDS, "", name)
        if stored is None:
            return
        now = format_time(self._store.now())
        if stored.obj["metadata"].get("deletionTimestamp"):
            if CLEANUP_FINALIZER in (stored.obj["metadata"].get("finalizers") or []):
                self._write_status(stored.obj, deleting_status(stored.obj, now))
                if not self._registry.keeps(name):
                    self._registry.keep(stored_resource(stored.obj))
                self._clean_up(name)
        else:
            self._write_status(stored.obj, next_status(stored.obj, self._others(stored.obj), now))

    def _write_status(self, crd: JsonObject, status: JsonObject) -> None:
        if status != crd["status"]:
            self._store.update(CRDS, {**crd, "status": status}, subresource="status", manager=MANAGER)

    # ---- serving

    def _serve(self, crd: JsonObject) -> None:
        if not has_condition(crd, ESTABLISHED):
            return
        key = crd["metadata"]["name"]
        served = {resource.version: resource for resource in self._registry.all() if resource.key == key}
        wanted = {resource.version: resource for resource in resources_of(crd)}
        stored = stored_resource(crd)
        if served != wanted:
            if set(served) - set(wanted):
                self._registry.remove(stored.group, stored.plural)
            for resource in wanted.values():
                self._registry.add(resource)
        if stored.version not in wanted:
            self._registry.keep(stored)
        self._read_anew(stored)
        if key not in self._observed:
            self._observed.add(key)
            self._store.observe(key, partial(self._instance_changed, key))

    def _read_anew(self, stored: Resource) -> None:
        """Show stored objects through the present schema: with its defaults, and without what it does not declare."""
        node = self._schemas.node(stored)

        def view(obj: JsonObject) -> None:
            prune(node, obj)
            apply_defaults(node, obj)

        self._store.read_anew(stored.key, view)

    # ---- deletion

    def _instance_changed(self, key: str, change: Change) -> None:
        if change.deleted:
            self._enqueue(key)

    def _clean_up(self, name: str) -> None:
        """Delete every instance; the definition goes when the last one has (some may wait for their finalizers)."""
        for stored in self._store.peek_all(name):
            if not stored.obj["metadata"].get("deletionTimestamp"):
                self._store.delete(name, stored.namespace, stored.name)
        crd = self._store.peek(CRDS, "", name)
        if crd is not None and not self._store.peek_all(name):
            gone = deleted(crd.obj, format_time(self._store.now()))
            self._store.update(CRDS, gone, subresource="status", manager=MANAGER)
