"""Namespaces: a default service account in each, and its contents deleted before it is."""

from __future__ import annotations

import copy

from rstore_devcluster.controllers.api import BUILTIN, CRDS, NAMESPACES, PODS, SERVICE_ACCOUNTS, ApiError, Obj, Resource
from rstore_devcluster.controllers.engine import Controller
from rstore_devcluster.controllers.objects import Key, condition_true, is_deleting, key_of, meta

FINALIZER = "kubernetes"
RECHECK_SECONDS = 0.2


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
        if await self._delete_contents(name):
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

    async def _delete_contents(self, namespace: str) -> bool:
        """Ask for the deletion of everything; returns whether something is left."""
        left = False
        for resource in self._kinds():
            try:
                items, _ = await self.api.list(resource, namespace)
            except ApiError as error:
                if error.not_found:
                    continue
                raise
            for item in items:
                left = True
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
