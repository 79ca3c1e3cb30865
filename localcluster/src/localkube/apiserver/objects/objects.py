"""The table of objects underneath the store: versions, history, persistence, reading and watching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from localkube.apiserver.errors import ApiError, not_found, too_large_version
from localkube.apiserver.jsonobj import JsonObject, copy_json, same, with_whole_numbers
from localkube.apiserver.objects.selectors import compile_selector
from localkube.apiserver.resources import Registry, Resource
from localkube.apiserver.storage.history import Change, History, Stored, Watch
from localkube.apiserver.storage.persistence import Memory, Persistence

MAX_OBJECT_BYTES = 3 * 2**19
"""What the store of a real API server takes at most."""
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
FIRST_VERSION = 100
"""The resourceVersion that a new store begins after; what is older counts as compacted, from the start."""


@dataclass(frozen=True)
class ObjectList:
    """A consistent list: items in order of ``namespace/name``, and the resourceVersion to watch from."""

    items: list[JsonObject]
    resource_version: str


def utc_now() -> datetime:
    """Returns the system's clock."""
    return datetime.now(UTC)


class Objects:
    """All objects of the cluster, by resource key."""

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        persistence: Persistence | None = None,
        clock: Callable[[], datetime] = utc_now,
        history_capacity: int = 10_000,
    ) -> None:
        self.registry = registry or Registry()
        self._persistence = persistence or Memory()
        self._clock = clock
        self._capacity = history_capacity
        self._objects: dict[str, dict[tuple[str, str], Stored]] = {}
        self._histories: dict[str, History] = {}
        self._observers: dict[str, list[Callable[[Change], None]]] = {}
        self._counter = max(FIRST_VERSION, self._persistence.counter())
        for key, obj in self._persistence.load():
            stored = Stored(obj)
            self._objects.setdefault(key, {})[(stored.namespace, stored.name)] = stored
            self._counter = max(self._counter, stored.resource_version)
        self._floor = self._counter
        self._floors: dict[str, int] = {}

    @property
    def resource_version(self) -> int:
        """Returns the resourceVersion of the newest write."""
        return self._counter

    def now(self) -> datetime:
        """Returns the store's clock."""
        return self._clock()

    def close(self) -> None:
        """Release the persistent file; watches end when their tasks do."""
        self._persistence.close()

    def end_watches(self, key: str | None = None) -> None:
        """End every watch, or those of one resource that is no longer served."""
        for held in list(self._histories) if key is None else [key]:
            if held in self._histories:
                self._histories.pop(held).finish()
                self._floors[held] = self._counter

    def read_anew(self, key: str, view: Callable[[JsonObject], None]) -> None:
        """Change how the stored objects of a resource are seen; this is no write, and no version changes."""
        objects = self._objects.get(key, {})
        for at, stored in objects.items():
            obj = copy_json(stored.written)
            view(obj)
            if not same(obj, stored.obj):
                objects[at] = Stored(obj, stored.written)

    def observe(self, key: str, callback: Callable[[Change], None]) -> None:
        """Call back synchronously after each write to a resource, before the write returns."""
        self._observers.setdefault(key, []).append(callback)

    # ---- reading

    def peek(self, key: str, namespace: str, name: str) -> Stored | None:
        """Returns the stored version itself, not to be modified; None when there is none."""
        return self._objects.get(key, {}).get((namespace, name))

    def peek_all(self, key: str, namespace: str = "") -> list[Stored]:
        """Returns all stored versions, in order of ``namespace/name``; not to be modified."""
        return _in_order(self._objects.get(key, {}), namespace)

    def peek_all_at(self, key: str, namespace: str, resource_version: int) -> list[Stored]:
        """Returns all stored versions as they were at a resourceVersion; raises 410 when that is no longer kept, or
        504."""
        if resource_version > self._counter:
            raise too_large_version(resource_version, self._counter)
        return _in_order(self._history(key).undone(self._objects.get(key, {}), resource_version), namespace)

    def get(self, key: str, namespace: str | None, name: str) -> JsonObject:
        """Returns one object; raises 404."""
        return copy_json(self._find(self.registry.by_key(key), namespace or "", name).obj)  # type: ignore[no-any-return]

    def find(self, key: str, namespace: str | None, name: str) -> JsonObject | None:
        """Returns one object, or None."""
        stored = self.peek(key, namespace or "", name)
        return None if stored is None else copy_json(stored.obj)

    def list(
        self, key: str, namespace: str | None = None, *, label_selector: str = "", field_selector: str = ""
    ) -> ObjectList:
        """Returns all objects of a resource (of one namespace, where given) that match the selectors."""
        resource = self.registry.by_key(key)
        matcher = compile_selector(label_selector, field_selector, resource)
        items = [
            copy_json(stored.obj)
            for stored in self.peek_all(key, namespace or "")
            if matcher is None or matcher(stored.obj)
        ]
        return ObjectList(items, str(self._counter))

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
        A version of the future is waited for.
        """
        resource = self.registry.by_key(key)
        matcher = compile_selector(label_selector, field_selector, resource)
        history = self._history(key)
        initial: list[Stored] = []
        end: Stored | None = None
        start = int(resource_version or 0)
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
            after=start,
            initial=initial,
            initial_end=end,
            namespace=namespace or "",
            matcher=matcher,
            current_version=lambda: self._counter,
        )

    def bookmark(self, resource: Resource, annotations: dict[str, str] | None = None) -> Stored:
        """Returns the object of a BOOKMARK event at the present resourceVersion."""
        metadata: JsonObject = {"name": "", "resourceVersion": str(self._counter)}
        if annotations:
            metadata["annotations"] = annotations
        stored = Stored({"kind": resource.kind, "apiVersion": resource.stored_api_version, "metadata": metadata})
        del metadata["name"]
        return stored

    def _find(self, resource: Resource, namespace: str, name: str) -> Stored:
        stored = self.peek(resource.key, namespace if resource.namespaced else "", name)
        if stored is None:
            raise not_found(resource.group, resource.plural, name)
        return stored

    def _history(self, key: str) -> History:
        if key not in self._histories:
            self._histories[key] = History(self._capacity, self._floors.get(key, self._floor))
        return self._histories[key]

    def _commit(self, resource: Resource, before: Stored | None, obj: JsonObject, *, dry_run: bool) -> JsonObject:
        if resource.custom:
            obj = with_whole_numbers(obj)
        if before is not None and same(obj, before.written):
            return obj
        if dry_run:
            return obj
        version = self._counter + 1
        obj["metadata"]["resourceVersion"] = str(version)
        after = Stored(obj)
        if len(after.encoded) > MAX_OBJECT_BYTES:
            raise ApiError(500, "", "etcdserver: request is too large")
        self._persistence.save(resource.key, after.namespace, after.name, version, after.encoded)
        self._counter = version
        self._objects.setdefault(resource.key, {})[(after.namespace, after.name)] = after
        self._announce(resource.key, Change(version, before, after))
        return copy_json(obj)  # type: ignore[no-any-return]

    def _remove(self, resource: Resource, before: Stored, obj: JsonObject, *, dry_run: bool) -> JsonObject:
        if dry_run:
            return obj
        version = self._counter + 1
        last = {**before.obj, "metadata": {**before.obj["metadata"], "resourceVersion": str(version)}}
        self._persistence.remove(resource.key, before.namespace, before.name, version)
        self._counter = version
        del self._objects[resource.key][(before.namespace, before.name)]
        self._announce(resource.key, Change(version, before, Stored(last), deleted=True))
        return obj

    def _announce(self, key: str, change: Change) -> None:
        self._history(key).append(change)
        for callback in self._observers.get(key, ()):
            callback(change)


def _in_order(objects: dict[tuple[str, str], Stored], namespace: str) -> list[Stored]:
    chosen = objects if not namespace else [at for at in objects if at[0] == namespace]
    return [objects[at] for at in sorted(chosen, key="/".join)]
