"""The Kubernetes API as a reconciler under test sees it."""

from __future__ import annotations

import copy
from typing import Any

from rstore_kube.errors import ApiError
from stored_objects import StoredObjects
from unit.operator.world import REF, SPEC

Body = dict[str, Any]


class FakeApi:
    """An API server with one store and its children; remembers every write in order.

    ``refusal``: why it takes no status; ``beaten``: somebody else writes the status first; ``overtaken``: somebody
    else changes the annotations first; ``deaf``: it takes no events; ``broken``: children that it refuses.
    """

    def __init__(self) -> None:
        self.stored = StoredObjects(REF.namespace, REF.name)
        self.stored.create(REF.uid, SPEC)
        self.claim_objects: dict[str, Body] = {}
        self.pod_objects: list[Body] = []
        self.failed: dict[str, list[Body]] = {}
        self.event_lists: list[str] = []
        self.events_refused: Exception | None = None
        self.writes: list[str] = []
        self.events: list[str] = []
        self.messages: list[str] = []
        self.refusal = ""
        self.deaf = False
        self.beaten = False
        self.overtaken = False
        self.broken: set[tuple[str, str]] = set()

    @property
    def store(self) -> Body | None:
        return self.stored.store

    @store.setter
    def store(self, store: Body | None) -> None:
        self.stored.store = store

    @property
    def objects(self) -> dict[tuple[str, str], Body]:
        return self.stored.objects

    async def get_store(self, namespace: str, name: str) -> Body:
        return copy.deepcopy(self.stored.read_store())

    async def patch_status(self, namespace: str, name: str, patch: Any, resource_version: str) -> Body:
        if self.refusal:
            raise ApiError(422, "Invalid", self.refusal)
        after = self.stored.patch_status(patch, "another" if self.beaten else resource_version)
        self.writes.append("status")
        return copy.deepcopy(after)

    async def remove_annotations(self, namespace: str, name: str, values: Any) -> None:
        if self.overtaken:
            raise ApiError(422, "Invalid", "the value to test is another")
        self.stored.remove_annotations(values)
        self.writes.append("annotations")

    async def get_child(self, kind: str, namespace: str, name: str) -> Body | None:
        return copy.deepcopy(self.objects.get((kind, name)))

    async def get_claim(self, namespace: str, name: str) -> Body | None:
        return copy.deepcopy(self.claim_objects.get(name))

    async def failed_creations(self, namespace: str, stateful_set: str) -> list[Body]:
        self.event_lists.append(stateful_set)
        if self.events_refused is not None:
            raise self.events_refused
        return copy.deepcopy(self.failed.get(stateful_set, []))

    async def set_owners(self, kind: str, namespace: str, name: str, owners: Any, version: str) -> Body:
        after = self.stored.set_owners(kind, name, owners, version)
        self.writes.append(f"adopt {kind}/{name}")
        return copy.deepcopy(after)

    async def apply(self, manifest: Any) -> Body:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if (kind, name) in self.broken:
            raise ApiError(422, "Invalid", f"{name} is invalid")
        after = self.stored.apply(manifest)
        self.writes.append(f"{kind}/{name}")
        return copy.deepcopy(after)

    async def delete_child(self, kind: str, namespace: str, name: str, uid: str) -> None:
        self.stored.delete_child(kind, name, uid)

    async def post_event(self, ref: Any, version: str, reason: str, message: str, warning: bool, now: Any) -> None:
        if self.deaf:
            raise ApiError(500, "InternalError", "no events now")
        self.events.append(reason)
        self.messages.append(message)

    def children(self) -> list[Body]:
        return list(self.objects.values())

    def pods(self) -> list[Body]:
        return copy.deepcopy(self.pod_objects)

    def claims(self) -> list[Body]:
        return copy.deepcopy(list(self.claim_objects.values()))
