"""Namespaces: a default service account in each, and its contents deleted before it is."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from localkube.apiserver.errors import ApiError
from localkube.apiserver.resources import BUILTIN, Resource
from localkube.controllers.engine import Controller
from localkube.controllers.objects import Key, condition_true, is_deleting, key_of, meta, set_condition
from localkube.controllers.resources import CRDS, NAMESPACES, PODS, SERVICE_ACCOUNTS, Obj

FINALIZER = "kubernetes"
RECHECK_SECONDS = 0.2


_NO_FAILURES = (
    ("NamespaceDeletionDiscoveryFailure", False, "ResourcesDiscovered", "All resources successfully discovered"),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        False,
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        False,
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)


@dataclass
class Remaining:
    """What is left in a namespace that is being deleted, and the finalizers that hold it."""

    objects: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)

    def add(self, resource: Resource, item: Obj) -> None:
        """Count one object; what goes at once is not counted."""
        finalizers = meta(item).get("finalizers") or []
        if finalizers or is_deleting(item):
            self.objects[f"{resource.plural}.{resource.group}" if resource.group else resource.plural] += 1
        self.finalizers.update(finalizers)

    def conditions(self, before: Sequence[Obj], now: float) -> list[Obj]:
        """Returns the conditions of the namespace at ``now``, in seconds since the epoch."""
        kinds = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(self.objects.items()))
        names = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(self.finalizers.items()))
        rows = [*_NO_FAILURES]
        if kinds:
            text = f"Some resources are remaining: {kinds}"
            rows.append(("NamespaceContentRemaining", True, "SomeResourcesRemain", text))
        else:
            text = "All content successfully removed"
            rows.append(("NamespaceContentRemaining", False, "ContentRemoved", text))
        if names:
            text = f"Some content in the namespace has finalizers remaining: {names}"
            rows.append(("NamespaceFinalizersRemaining", True, "SomeFinalizersRemain", text))
        else:
            text = "All content-preserving finalizers finished"
            rows.append(("NamespaceFinalizersRemaining", False, "ContentHasNoFinalizers", text))
        conditions = list(before)
        for name, status, reason, message in rows:
            conditions = set_condition(conditions, name, status, now, reason=reason, message=message)
        return conditions


class NamespaceController(Controller):
    """Reconciles Namespaces."""

    name = "namespace"

    def setup(self) -> None:
        """Wake by namespaces, and by their default service account going away."""
        self.watch_own(NAMESPACES)
        self.context.informers.of(CRDS)
        self.context.informers.of(SERVICE_ACCOUNTS).subscribe(
            lambda change, _old, obj: self.enqueue(("", key_of(obj)[0])) if change == "deleted" else None
        )

    async def reconcile(self, key: Key) -> float | None:
        """Create what a namespace should have, or delete what it still has."""
        namespace = self.context.informers.of(NAMESPACES).copy_of(*key)
        if namespace is None:
            return None
        name = meta(namespace)["name"]
        if not is_deleting(namespace):
            await self._default_account(name)
            return None
        left = await self._delete_contents(name)
        if left is not None:
            await self._report(namespace, left)
            return RECHECK_SECONDS
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if FINALIZER in finalizers:
            changed = copy.deepcopy(namespace)
            changed["spec"]["finalizers"] = [f for f in finalizers if f != FINALIZER]
            try:
                await self.api.finalize_namespace(changed)
            except ApiError as error:
                if not error.not_found:
                    raise
        return None

    async def _default_account(self, namespace: str) -> None:
        if self.context.informers.of(SERVICE_ACCOUNTS).get(namespace, "default") is not None:
            return
        account: Obj = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": namespace},
        }
        try:
            await self.api.create(SERVICE_ACCOUNTS, namespace, account)
        except ApiError as error:
            if not (error.already_exists or error.code == 403 or error.not_found):
                raise

    async def _report(self, namespace: Obj, left: Remaining) -> None:
        """Say in the namespace's conditions what still holds it."""
        before = (namespace.get("status") or {}).get("conditions") or []
        conditions = left.conditions(before, self.context.clock.now())
        if conditions == before:
            return
        changed = copy.deepcopy(namespace)
        changed["status"] = {**(namespace.get("status") or {}), "conditions": conditions}
        try:
            await self.api.update_status(NAMESPACES, "", changed)
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise

    async def _delete_contents(self, namespace: str) -> Remaining | None:
        """Ask for the deletion of everything; returns what is left, None when nothing is."""
        left: Remaining | None = None
        for resource in self._kinds():
            try:
                items, _ = await self.api.list(resource, namespace)
            except ApiError as error:
                if error.not_found:
                    continue
                raise
            for item in items:
                left = left or Remaining()
                left.add(resource, item)
                if is_deleting(item):
                    continue
                try:
                    await self.api.delete(
                        resource,
                        namespace,
                        meta(item)["name"],
                        propagation=None if resource == PODS else "Background",
                    )
                except ApiError as error:
                    if not error.not_found:
                        raise
        return left

    def _kinds(self) -> list[Resource]:
        custom = []
        for crd in self.context.informers.of(CRDS).items():
            spec = crd["spec"]
            version = next((v["name"] for v in spec["versions"] if v.get("served") and v.get("storage")), None)
            if version is not None and spec["scope"] == "Namespaced" and condition_true(crd, "Established"):
                custom.append(Resource(spec["group"], version, spec["names"]["plural"], spec["names"]["kind"]))
        return [*custom, *(r for r in BUILTIN if r.namespaced)]
