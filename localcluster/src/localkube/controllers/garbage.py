"""The garbage collector: what an owner leaves behind when it is deleted, in the background, foreground, or orphaned."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import defaultdict
from typing import Any

from localkube.apiserver.errors import ApiError
from localkube.apiserver.resources import BUILTIN, Resource
from localkube.controllers.engine import Context, Controller
from localkube.controllers.informer import Change
from localkube.controllers.objects import Key, condition_true, is_deleting, meta, uid_of
from localkube.controllers.resources import CRDS, EVENTS, NODES, Obj

log = logging.getLogger(__name__)

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
NOT_COLLECTED = (EVENTS, NODES)


class GarbageCollector(Controller):
    """Watches every kind of object, custom ones as their definitions come and go.

    Its keys are (uid, ""): what to look at is found in the index, whatever its kind.
    """

    name = "garbage-collector"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._resources: dict[tuple[str, str], Resource] = {}
        self._objects: dict[str, tuple[Resource, Obj]] = {}
        self._dependents: defaultdict[str, set[str]] = defaultdict(set)
        self._custom: dict[str, Resource] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def setup(self) -> None:
        """Follow every builtin resource, and those of definitions."""
        for resource in BUILTIN:
            self._resources[(resource.group, resource.kind)] = resource
            if resource not in NOT_COLLECTED:
                self._follow(resource)
        self.context.informers.of(CRDS).subscribe(self._on_definition)

    def _follow(self, resource: Resource) -> None:
        group_kind = (resource.group, resource.kind)
        self._resources[group_kind] = resource

        def on_change(change: Change, _old: Obj | None, obj: Obj) -> None:
            self._on_object(resource, change, obj)

        self.context.informers.of(resource).subscribe(on_change)

    def _on_definition(self, change: Change, _old: Obj | None, crd: Obj) -> None:
        name, spec = meta(crd)["name"], crd["spec"]
        version = next((v["name"] for v in spec["versions"] if v.get("served") and v.get("storage")), None)
        if change == "deleted" or version is None:
            dropped = self._custom.pop(name, None)
            if dropped is not None:
                task = asyncio.ensure_future(self.context.informers.drop(dropped))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            return
        if name in self._custom or not condition_true(crd, "Established"):
            return
        names = spec["names"]
        resource = Resource(spec["group"], version, names["plural"], names["kind"], spec["scope"] == "Namespaced")
        self._custom[name] = resource
        self._follow(resource)

    def _on_object(self, resource: Resource, change: Change, obj: Obj) -> None:
        uid = uid_of(obj)
        previous = self._objects.get(uid)
        if previous is not None:
            for ref in meta(previous[1]).get("ownerReferences") or []:
                self._dependents[ref["uid"]].discard(uid)
        if change == "deleted":
            self._objects.pop(uid, None)
            for dependent in list(self._dependents.get(uid, ())):
                self.enqueue((dependent, ""))
            if not self._dependents.get(uid):
                self._dependents.pop(uid, None)
            for ref in meta(obj).get("ownerReferences") or []:
                self.enqueue((ref["uid"], ""))
            return
        self._objects[uid] = (resource, obj)
        references = meta(obj).get("ownerReferences") or []
        for ref in references:
            self._dependents[ref["uid"]].add(uid)
        if references or is_deleting(obj):
            self.enqueue((uid, ""))

    async def reconcile(self, key: Key) -> float | None:
        """Look at one object: as a dependent of its owners, and as an owner being deleted."""
        entry = self._objects.get(key[0])
        if entry is None:
            return None
        resource, cached = entry
        if is_deleting(cached):
            finalizers = meta(cached).get("finalizers") or []
            if ORPHAN in finalizers:
                await self._orphan(resource, cached)
            elif FOREGROUND in finalizers:
                await self._delete_dependents(resource, cached)
            return None
        references = meta(cached).get("ownerReferences") or []
        if references:
            await self._collect(resource, cached, references)
        return None

    async def _collect(self, resource: Resource, obj: Obj, references: list[dict[str, Any]]) -> None:
        present, absent, waiting = [], [], []
        for ref in references:
            owner = await self._owner(meta(obj).get("namespace"), ref)
            if owner is None:
                absent.append(ref)
            elif is_deleting(owner) and FOREGROUND in (meta(owner).get("finalizers") or []):
                waiting.append(ref)
            else:
                present.append(ref)
        if present:
            if absent or waiting:
                live = await self._live(resource, obj)
                if live is not None:
                    gone = {ref["uid"] for ref in (*absent, *waiting)}
                    meta(live)["ownerReferences"] = [r for r in meta(live)["ownerReferences"] if r["uid"] not in gone]
                    await self.api.update(resource, meta(obj).get("namespace"), live)
            return
        live = await self._live(resource, obj)
        if live is None or is_deleting(live):
            return
        if {r["uid"] for r in meta(live).get("ownerReferences") or []} != {r["uid"] for r in references}:
            return
        policy = "Foreground" if waiting and self._dependents.get(uid_of(obj)) else "Background"
        await self._delete(resource, live, policy)

    async def _delete_dependents(self, resource: Resource, owner: Obj) -> None:
        blocking = False
        for uid in list(self._dependents.get(uid_of(owner), ())):
            entry = self._objects.get(uid)
            if entry is None:
                continue
            ref = next((r for r in meta(entry[1])["ownerReferences"] if r["uid"] == uid_of(owner)), None)
            blocking = blocking or bool(ref and ref.get("blockOwnerDeletion"))
            if not is_deleting(entry[1]):
                self.enqueue((uid, ""))
        if not blocking:
            await self._remove_finalizer(resource, owner, FOREGROUND)

    async def _orphan(self, resource: Resource, owner: Obj) -> None:
        for uid in list(self._dependents.get(uid_of(owner), ())):
            entry = self._objects.get(uid)
            live = await self._live(*entry) if entry is not None else None
            if entry is None or live is None:
                continue
            meta(live)["ownerReferences"] = [
                r for r in meta(live).get("ownerReferences") or [] if r["uid"] != uid_of(owner)
            ]
            await self.api.update(entry[0], meta(live).get("namespace"), live)
        await self._remove_finalizer(resource, owner, ORPHAN)

    async def _remove_finalizer(self, resource: Resource, obj: Obj, finalizer: str) -> None:
        live = await self._live(resource, obj)
        if live is not None and finalizer in (meta(live).get("finalizers") or []):
            meta(live)["finalizers"] = [f for f in meta(live)["finalizers"] if f != finalizer]
            await self.api.update(resource, meta(obj).get("namespace"), live)

    async def _owner(self, namespace: str | None, ref: dict[str, Any]) -> Obj | None:
        """Returns the owner as the API has it now; None only when it certainly does not exist."""
        group = ref["apiVersion"].rpartition("/")[0]
        resource = self._resources.get((group, ref["kind"]))
        if resource is None:
            raise ApiError(503, "ServiceUnavailable", f"kind {ref['kind']} of an owner is not known (yet)")
        try:
            owner = await self.api.get(resource, namespace if resource.namespaced else None, ref["name"])
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return owner if uid_of(owner) == ref["uid"] else None

    async def _live(self, resource: Resource, obj: Obj) -> Obj | None:
        try:
            live = await self.api.get(resource, meta(obj).get("namespace"), meta(obj)["name"])
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return copy.deepcopy(live) if uid_of(live) == uid_of(obj) else None

    async def _delete(self, resource: Resource, live: Obj, policy: str) -> None:
        try:
            await self.api.delete(
                resource,
                meta(live).get("namespace"),
                meta(live)["name"],
                uid=uid_of(live),
                resource_version=meta(live).get("resourceVersion"),
                propagation=policy,
            )
        except ApiError as error:
            if not error.not_found:
                raise
