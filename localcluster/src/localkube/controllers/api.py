"""The requests that controllers and the runner make, answered by the API server's storage in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from localkube.apiserver.objects.store import Store
from localkube.apiserver.resources import Resource
from localkube.apiserver.storage.history import WatchEvent
from localkube.controllers.resources import NAMESPACES, Obj

MANAGER = "kube-controller-manager"


class Api:
    """Requests to a `Store`. Objects are the caller's to change. Each method raises `ApiError` when it is refused."""

    def __init__(self, store: Store, mint_token: Callable[[str, str], str]) -> None:
        self._store = store
        self._mint_token = mint_token

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Obj:
        """Returns the object as it is now."""
        return self._store.get(resource.key, namespace, name)

    async def list(self, resource: Resource, namespace: str | None = None) -> tuple[list[Obj], str]:
        """Returns all objects (of one namespace, or of all), and the resourceVersion at which they were read."""
        page = self._store.list(resource.key, namespace)
        return page.items, page.resource_version

    async def create(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Creates an object and returns it as stored, with a status that is given along."""
        return self._store.create(resource.key, obj, namespace=namespace, manager=MANAGER)

    async def update(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Replaces all but the status; conditional when `obj` has a resourceVersion."""
        return self._store.update(resource.key, obj, namespace=namespace, manager=MANAGER)

    async def update_status(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Replaces the status; conditional when `obj` has a resourceVersion."""
        return self._store.update(resource.key, obj, namespace=namespace, subresource="status", manager=MANAGER)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
        propagation: str | None = None,
    ) -> None:
        """Asks for deletion, under the given preconditions."""
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        self._store.delete(
            resource.key,
            namespace,
            name,
            grace_period_seconds=grace_seconds,
            propagation_policy=propagation or "",
            preconditions=preconditions or None,
        )

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> None:
        """Binds a pod to a node."""
        self._store.bind(namespace, name, node, uid=uid)

    async def finalize_namespace(self, obj: Obj) -> None:
        """Replaces a namespace's `spec.finalizers`."""
        self._store.update(NAMESPACES.key, obj, subresource="finalize", manager=MANAGER)

    async def mint_token(self, namespace: str, service_account: str) -> str:
        """Returns a bearer token of a service account."""
        return self._mint_token(namespace, service_account)

    async def watch(self, resource: Resource, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Yields changes in all namespaces after `resource_version`; the watch may end or raise at any time."""
        watch = self._store.watch(resource.key, resource_version=resource_version)
        try:
            while (event := await watch.next()) is not None:
                yield event
        finally:
            watch.close()
