"""The object store with the semantics of the Kubernetes API; HTTP handlers and in-process controllers both use it.

Everything but watching is synchronous and runs on the event loop's thread, so that read-modify-write needs no
locks. Objects are plain dicts: what goes in is copied, what comes out is the caller's to change. Failures are
``errors.ApiError``. Resources are named by key: ``pods``, ``statefulsets.apps``, ``events``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from . import lifecycle
from .errors import ApiError, Cause, already_exists, bad_request, conflict, forbidden, invalid, not_found
from .history import ADDED, BOOKMARK, DELETED, MODIFIED, Change, History, Stored, Watch, WatchEvent
from .jsonobj import JsonObject, copy_json, format_time, metadata_of
from .lifecycle import DeleteOptions
from .patch.merge import merge_patch
from .persistence import Memory, Persistence
from .resources import Registry, Resource
from .selectors import compile_selector
from .strategy import PlainStrategy, Strategy

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True)
class ObjectList:
    """A consistent list: items in order of (namespace, name), and the resourceVersion to watch from."""

    items: list[JsonObject]
    resource_version: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """All objects of the cluster."""

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        strategy: Strategy | None = None,
        persistence: Persistence | None = None,
        clock: Callable[[], datetime] = _utc_now,
        history_capacity: int = 10_000,
    ) -> None:
        self.registry = registry or Registry()
        self.strategy: Strategy = strategy or PlainStrategy()
        self._persistence = persistence or Memory()
        self._clock = clock
        self._capacity = history_capacity
        self._objects: dict[str, dict[tuple[str, str], Stored]] = {}
        self._histories: dict[str, History] = {}
        self._observers: dict[str, list[Callable[[Change], None]]] = {}
        self._counter = max(1, self._persistence.counter())
        for key, obj in self._persistence.load():
            stored = Stored(obj)
            self._objects.setdefault(key, {})[(stored.namespace, stored.name)] = stored
            self._counter = max(self._counter, stored.resource_version)
        self._floor = self._counter

    @property
    def resource_version(self) -> int:
        """The resourceVersion of the newest write."""
        return self._counter

    def now(self) -> datetime:
        """The store's clock."""
        return self._clock()

    def close(self) -> None:
        """Release the persistent file; watches end when their tasks do."""
        self._persistence.close()

    def end_watches(self) -> None:
        """Wake every watch, so that what serves it can see that the server stops."""
        for history in self._histories.values():
            history.wake_all()

    def observe(self, key: str, callback: Callable[[Change], None]) -> None:
        """Call back synchronously after each write to a resource, before the write returns."""
        self._observers.setdefault(key, []).append(callback)

    # ---- reading

    def peek(self, key: str, namespace: str, name: str) -> Stored | None:
        """The stored version itself, not to be modified; None when there is none."""
        return self._objects.get(key, {}).get((namespace, name))

    def peek_all(self, key: str, namespace: str = "") -> list[Stored]:
        """All stored versions, ordered by (namespace, name); not to be modified."""
        objects = self._objects.get(key, {})
        return [objects[at] for at in sorted(objects) if not namespace or at[0] == namespace]

    def get(self, key: str, namespace: str | None, name: str) -> JsonObject:
        """One object; raises 404."""
        return copy_json(self._find(self.registry.by_key(key), namespace or "", name).obj)  # type: ignore[no-any-return]

    def find(self, key: str, namespace: str | None, name: str) -> JsonObject | None:
        """One object, or None."""
        stored = self.peek(key, namespace or "", name)
        return None if stored is None else copy_json(stored.obj)

    def list(
        self, key: str, namespace: str | None = None, *, label_selector: str = "", field_selector: str = ""
    ) -> ObjectList:
        """All objects of a resource (of one namespace, where given) that match the selectors."""
        resource = self.registry.by_key(key)
        matcher = compile_selector(label_selector, field_selector, resource.selectable_fields, resource.kind)
        found = [
            copy_json(stored.obj)
            for stored in self.peek_all(key, namespace or "")
            if matcher is None or matcher(stored.obj)
        ]
        return ObjectList(found, str(self._counter))

    def watch(
        self,
        key: str,
        namespace: str | None = None,
        *,
        resource_version: str | int | None = None,
        label_selector: str = "",
        field_selector: str = "",
        send_initial_events: bool = False,
    ) -> Watch:
        """Watch a resource; from ``resource_version`` on, or (None, 0, "") with the present objects as ADDED first.

        ``send_initial_events`` ends the present objects with a bookmark, as watch-lists have it. Raises 410 when
        changes since ``resource_version`` are no longer kept; the same is raised later by a watch that falls behind.
        """
        resource = self.registry.by_key(key)
        matcher = compile_selector(label_selector, field_selector, resource.selectable_fields, resource.kind)
        history = self._history(key)
        initial: list[Stored] = []
        end: Stored | None = None
        start = int(resource_version or 0)
        if start > self._counter:
            raise ApiError(
                504,
                "Timeout",
                f"Too large resource version: {start}, current: {self._counter}",
                details={"retryAfterSeconds": 1},
            )
        if start == 0 or send_initial_events:
            initial = [s for s in self.peek_all(key, namespace or "") if matcher is None or matcher(s.obj)]
            position = history.end
        else:
            position = history.position_after(start)
        if send_initial_events:
            end = self.bookmark(resource, {INITIAL_EVENTS_END: "true"})
        return Watch(
            history,
            position,
            initial=initial,
            initial_end=end,
            namespace=namespace or "",
            matcher=matcher,
            current_version=lambda: self._counter,
        )

    def bookmark(self, resource: Resource, annotations: dict[str, str] | None = None) -> Stored:
        """The object of a BOOKMARK event at the present resourceVersion."""
        metadata: JsonObject = {"name": "", "resourceVersion": str(self._counter), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        stored = Stored({"kind": resource.kind, "apiVersion": resource.stored_api_version, "metadata": metadata})
        del metadata["name"]
        return stored

    # ---- writing

    def create(
        self,
        key: str,
        obj: JsonObject,
        *,
        namespace: str | None = None,
        dry_run: bool = False,
        manager: str = "kube-controller-manager",
        tracked: bool = False,
    ) -> JsonObject:
        """Create an object; raises 409 when it exists, 404 when its namespace does not, 422 when it is invalid.

        ``tracked``: ``metadata.managedFields`` already says who owns what (server-side apply).
        """
        resource = self.registry.by_key(key)
        obj = copy_json(obj)
        lifecycle.check_type(resource, obj)
        metadata = metadata_of(obj)
        space = self._namespace_for_create(resource, metadata, namespace)
        name = lifecycle.require_name(resource, obj)
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(field, None)
        if not tracked:
            metadata.pop("managedFields", None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = format_time(self._clock())
        if resource.generation:
            metadata["generation"] = 1
        else:
            metadata.pop("generation", None)
        if resource.has_status:
            obj.pop("status", None)
        if self.peek(key, space, name) is not None:
            raise already_exists(resource.group, resource.plural, name)
        self.strategy.prepare(resource, obj, None, dry_run=dry_run)
        self._validate(resource, obj, None)
        if not tracked:
            self.strategy.track(resource, obj, None, manager=manager, subresource="")
        return self._commit(resource, None, obj, dry_run=dry_run)

    def update(
        self,
        key: str,
        obj: JsonObject,
        *,
        namespace: str | None = None,
        subresource: str = "",
        dry_run: bool = False,
        manager: str = "kube-controller-manager",
        tracked: bool = False,
    ) -> JsonObject:
        """Replace an object, or with ``subresource="status"`` only its status.

        Raises 409 when ``metadata.resourceVersion`` is given and stale, 404, 422. An update that changes nothing
        writes nothing. An object being deleted goes away when its last finalizer does.
        """
        resource = self.registry.by_key(key)
        obj = copy_json(obj)
        lifecycle.check_type(resource, obj)
        metadata = metadata_of(obj)
        stored = self._find(resource, namespace or metadata.get("namespace") or "", metadata.get("name") or "")
        old = stored.obj
        if resource.namespaced:
            metadata["namespace"] = stored.namespace
        if not metadata.get("resourceVersion") and not resource.unconditional_update:
            message = "Invalid value: 0x0: must be specified for an update"
            raise invalid(resource.group, resource.kind, stored.name, [Cause("metadata.resourceVersion", message)])
        lifecycle.carry_metadata(resource, obj, old)
        obj = self._confine(resource, obj, old, subresource, tracked)
        self.strategy.prepare(resource, obj, old, dry_run=dry_run)
        self._bump_generation(resource, obj, old)
        self._validate(resource, obj, old)
        if not tracked:
            managed = metadata_of(obj).get("managedFields")
            if managed != [] and "managedFields" in old["metadata"]:
                obj["metadata"]["managedFields"] = copy_json(managed or old["metadata"]["managedFields"])
            self.strategy.track(resource, obj, old, manager=manager, subresource=subresource)
        if lifecycle.deletion_ready(obj):
            return self._remove(resource, stored, obj, dry_run=dry_run)
        return self._commit(resource, stored, obj, dry_run=dry_run)

    def patch(
        self,
        key: str,
        namespace: str | None,
        name: str,
        patch: JsonObject,
        *,
        subresource: str = "",
        manager: str = "kube-controller-manager",
    ) -> JsonObject:
        """Merge-patch (RFC 7386) an object."""
        current = self.get(key, namespace, name)
        given = (patch.get("metadata") or {}).get("resourceVersion")
        if given and given != current["metadata"]["resourceVersion"]:
            resource = self.registry.by_key(key)
            raise conflict(resource.group, resource.plural, name)
        merged = merge_patch(current, patch)
        return self.update(key, merged, namespace=namespace, subresource=subresource, manager=manager)

    def patch_status(
        self,
        key: str,
        namespace: str | None,
        name: str,
        status: JsonObject,
        *,
        resource_version: str | None = None,
        manager: str = "kube-controller-manager",
    ) -> JsonObject:
        """Merge-patch the status: ``status`` is the (partial) content of ``.status``."""
        patch: JsonObject = {"status": status}
        if resource_version:
            patch["metadata"] = {"resourceVersion": resource_version}
        return self.patch(key, namespace, name, patch, subresource="status", manager=manager)

    def delete(
        self,
        key: str,
        namespace: str | None,
        name: str,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "",
        preconditions: JsonObject | None = None,
        dry_run: bool = False,
    ) -> tuple[JsonObject, bool]:
        """Delete an object; returns it and whether it is gone (else it is marked and waits for finalizers or grace)."""
        resource = self.registry.by_key(key)
        stored = self._find(resource, namespace or "", name)
        obj = copy_json(stored.obj)
        options = DeleteOptions(grace_period_seconds, propagation_policy, preconditions, dry_run)
        if lifecycle.mark_deleted(resource, obj, options, self._clock()):
            return self._remove(resource, stored, obj, dry_run=dry_run), True
        return self._commit(resource, stored, obj, dry_run=dry_run), False

    # ---- inside

    def _find(self, resource: Resource, namespace: str, name: str) -> Stored:
        stored = self.peek(resource.key, namespace if resource.namespaced else "", name)
        if stored is None:
            raise not_found(resource.group, resource.plural, name)
        return stored

    def _history(self, key: str) -> History:
        if key not in self._histories:
            self._histories[key] = History(self._capacity, self._floor)
        return self._histories[key]

    def _namespace_for_create(self, resource: Resource, metadata: JsonObject, namespace: str | None) -> str:
        given = metadata.get("namespace") or ""
        if not resource.namespaced:
            metadata.pop("namespace", None)
            return ""
        if namespace and given and namespace != given:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
                f" ({given} != {namespace})"
            )
        space = namespace or given or "default"
        metadata["namespace"] = space
        holder = self.peek("namespaces", "", space)
        if holder is None:
            raise not_found("", "namespaces", space)
        if holder.obj["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {space} because it is being terminated"
            raise forbidden(resource.group, resource.plural, metadata.get("name") or "", why)
        return space

    def _confine(
        self, resource: Resource, obj: JsonObject, old: JsonObject, subresource: str, tracked: bool
    ) -> JsonObject:
        """Leave only what this endpoint may change."""
        if subresource == "finalize":
            finalized: JsonObject = copy_json(old)
            finalized.setdefault("spec", {})["finalizers"] = (obj.get("spec") or {}).get("finalizers") or []
            return finalized
        if resource.key == "namespaces":
            obj["spec"] = copy_json(old.get("spec") or {})
        if subresource == "status":
            kept: JsonObject = copy_json(old)
            if tracked or "managedFields" in obj["metadata"]:
                kept["metadata"]["managedFields"] = obj["metadata"].get("managedFields") or []
            if "status" in obj:
                kept["status"] = obj["status"]
            else:
                kept.pop("status", None)
            return kept
        if resource.has_status:
            if "status" in old:
                obj["status"] = copy_json(old["status"])
            else:
                obj.pop("status", None)
        return obj

    def _bump_generation(self, resource: Resource, obj: JsonObject, old: JsonObject) -> None:
        if not resource.generation:
            return
        without_status = resource.has_status
        if lifecycle.content(obj, without_status=without_status) != lifecycle.content(
            old, without_status=without_status
        ):
            obj["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1

    def _validate(self, resource: Resource, obj: JsonObject, old: JsonObject | None) -> None:
        causes = lifecycle.metadata_causes(obj) + self.strategy.validate(resource, obj, old)
        if causes:
            raise invalid(resource.group, resource.kind, obj["metadata"]["name"], causes)

    def _commit(self, resource: Resource, before: Stored | None, obj: JsonObject, *, dry_run: bool) -> JsonObject:
        if before is not None and obj == before.obj:
            return obj
        if dry_run:
            return obj
        version = self._counter + 1
        obj["metadata"]["resourceVersion"] = str(version)
        after = Stored(obj)
        self._persistence.save(resource.key, after.namespace, after.name, version, after.encoded)
        self._counter = version
        self._objects.setdefault(resource.key, {})[(after.namespace, after.name)] = after
        self._announce(resource.key, Change(version, before, after))
        return copy_json(obj)  # type: ignore[no-any-return]

    def _remove(self, resource: Resource, before: Stored, obj: JsonObject, *, dry_run: bool) -> JsonObject:
        if dry_run:
            return obj
        version = self._counter + 1
        obj["metadata"]["resourceVersion"] = str(version)
        self._persistence.remove(resource.key, before.namespace, before.name, version)
        self._counter = version
        del self._objects[resource.key][(before.namespace, before.name)]
        self._announce(resource.key, Change(version, before, Stored(obj), deleted=True))
        return copy_json(obj)  # type: ignore[no-any-return]

    def _announce(self, key: str, change: Change) -> None:
        self._history(key).append(change)
        for callback in self._observers.get(key, ()):
            callback(change)


__all__ = [
    "ADDED",
    "BOOKMARK",
    "DELETED",
    "MODIFIED",
    "ObjectList",
    "PlainStrategy",
    "Store",
    "Strategy",
    "Watch",
    "WatchEvent",
    "merge_patch",
]
