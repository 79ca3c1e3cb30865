"""The controllers' API over the embedded server's storage, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from localkube.apiserver.errors import ApiError as ServerError
from localkube.apiserver.objects.store import Store
from localkube.controllers.api import NAMESPACES, ApiError, Obj, Resource, WatchEvent

MANAGER = "kube-controller-manager"


class StoreApi:
    """`Api` over a `Store`; every call is immediate."""

    def __init__(self, store: Store, mint_token: Callable[[str, str], str]) -> None:
        self._store = store
        self._mint_token = mint_token

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Obj:
        """The object as it is now."""
        with _translated():
            return self._store.get(key_of(resource), namespace, name)

    async def list(self, resource: Resource, namespace: str | None = None) -> tuple[list[Obj], str]:
        """All objects, and the resourceVersion they were read at."""
        with _translated():
            found = self._store.list(key_of(resource), namespace)
        return found.items, found.resource_version

    async def create(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Create and return the object as stored; a status given along is written too where status is a subresource."""
        with _translated():
            return self._store.create(key_of(resource), obj, namespace=namespace, manager=MANAGER)

    async def update(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Replace all but the status."""
        with _translated():
            return self._store.update(key_of(resource), obj, namespace=namespace, manager=MANAGER)

    async def update_status(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Replace the status."""
        with _translated():
            return self._store.update(key_of(resource), obj, namespace=namespace, subresource="status", manager=MANAGER)

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
        """Ask for deletion."""
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        with _translated():
            self._store.delete(
                key_of(resource),
                namespace,
                name,
                grace_period_seconds=grace_seconds,
                propagation_policy=propagation or "",
                preconditions=preconditions or None,
            )

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> None:
        """Bind a pod to a node."""
        with _translated():
            self._store.bind(namespace, name, node, uid=uid)

    async def finalize_namespace(self, obj: Obj) -> None:
        """Replace a namespace's finalizers."""
        with _translated():
            self._store.update(key_of(NAMESPACES), obj, subresource="finalize", manager=MANAGER)

    async def mint_token(self, namespace: str, service_account: str) -> str:
        """A bearer token of a service account."""
        with _translated():
            return self._mint_token(namespace, service_account)

    async def watch(self, resource: Resource, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Changes after `resource_version`."""
        with _translated():
            watch = self._store.watch(key_of(resource), resource_version=resource_version)
            try:
                while (event := await watch.next()) is not None:
                    yield WatchEvent(event.type, event.object)
            finally:
                watch.close()


def key_of(resource: Resource) -> str:
    """What the store calls the resource: `pods`, `statefulsets.apps`."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ServerError as error:
        raise ApiError(error.code, error.reason, error.message) from error
