"""The objects of all stores as the watches show them: some thirty of each store, kept packed, read one store at a
time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from rstore_api.domain.kubernetes import BACKUP_KIND, STORE_LABEL

from rstore_operator.cluster.packed import Packer

Store = tuple[str, str]
"""Namespace and name of a store."""


class _Seen(msgspec.Struct, frozen=True, gc=False):
    """One object, at one version."""

    kind: str
    version: str
    packed: bytes


class SeenObjects:
    """The objects with a store's label, and those that ask for its bases, by store and uid. ``changed`` is called
    with the namespace and the store of each that has come, changed or gone."""

    def __init__(self, changed: Callable[[str, str], None]) -> None:
        self._changed = changed
        self._stores: dict[Store, dict[str, _Seen]] = {}
        self._store_of: dict[str, Store] = {}
        self._packers: dict[str, Packer] = {}

    def of(self, store: Store, kinds: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yields the store's objects of these kinds, as last seen."""
        objects = self._stores.get(store, {}).values()
        seen = [one for kind in kinds for one in objects if one.kind == kind]
        return (self._packers[one.kind].unpack(one.packed) for one in seen)

    def stores_with(self, kind: str) -> list[Store]:
        """Returns the stores of which an object of that kind is there."""
        return [store for store, seen in self._stores.items() if any(one.kind == kind for one in seen.values())]

    def put(self, kind: str, body: Mapping[str, Any]) -> None:
        """An object of that kind is there. Nothing has changed if it was seen at the same version."""
        meta = body["metadata"]
        uid, version = uid_of(body), str(meta.get("resourceVersion", ""))
        name = _store_of(kind, body)
        store = (str(meta.get("namespace") or ""), str(name)) if name else None
        before = self._store_of.get(uid)
        if before is not None and before == store:
            if version and self._stores[before][uid].version == version:
                return
            store = before  # the same tuple for all objects of a store
        elif before is not None:
            self.drop(uid)
        if store is not None:
            packer = self._packers.setdefault(kind, Packer(kind))
            self._stores.setdefault(store, {})[uid] = _Seen(kind, version, packer.pack(body))
            self._store_of[uid] = store
            self._changed(*store)

    def drop(self, uid: str) -> None:
        """An object is gone."""
        store = self._store_of.pop(uid, None)
        if store is None:
            return
        seen = self._stores[store]
        del seen[uid]
        if not seen:
            del self._stores[store]
        self._changed(*store)

    def keep_only(self, kind: str, namespace: str | None, uids: Collection[str]) -> None:
        """Of that kind there are only these objects in the namespace; in all namespaces, if that is None."""
        gone = [
            uid
            for store, seen in self._stores.items()
            if namespace in (None, store[0])
            for uid, one in seen.items()
            if one.kind == kind and uid not in uids
        ]
        for uid in gone:
            self.drop(uid)


def _store_of(kind: str, body: Mapping[str, Any]) -> object:
    """The name of the store that an object belongs to."""
    if kind == BACKUP_KIND:
        return (body.get("spec") or {}).get("store")
    return (body["metadata"].get("labels") or {}).get(STORE_LABEL)


def uid_of(body: Mapping[str, Any]) -> str:
    """Returns the uid of an object; its namespace and name where it has none."""
    meta = body["metadata"]
    return str(meta.get("uid") or f"{meta.get('namespace')}/{meta.get('name')}")
