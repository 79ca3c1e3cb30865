"""A client of the Kubernetes API whose requests are answered by stored objects."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rstore_api.domain.kubernetes import EVENT, SEEN_KINDS, STORE, Kind
from rstore_kube.client import KubeClient
from rstore_kube.errors import ApiError
from stored_objects import Body, StoredObjects

T = TypeVar("T")

NAMES = {kind: name for name, kind in SEEN_KINDS.items()}


class StoredClient(KubeClient):
    """Asks ``stored``, and lists no Events. ``answer`` carries a request out; tests let it fail or take time."""

    def __init__(self, stored: StoredObjects) -> None:
        self.stored = stored

    async def answer(self, request: str, work: Callable[[], T]) -> T:
        """What the work comes to, as a copy. ``request`` is a verb and what it is about, such as "patch Secret/a"."""
        return copy.deepcopy(work())

    async def get(self, kind: Kind, namespace: str, name: str) -> Body:
        body = await self.find(kind, namespace, name)
        if body is None:
            raise ApiError(404, "NotFound", f"there is no {name}")
        return body

    async def find(self, kind: Kind, namespace: str, name: str) -> Body | None:
        if kind == STORE:
            return await self.answer("get store", lambda: self.stored.store)
        key = (NAMES[kind], name)
        return await self.answer(f"get {NAMES[kind]}/{name}", lambda: self.stored.objects.get(key))

    async def list(
        self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int = 0
    ) -> list[Body]:
        assert kind == EVENT
        return await self.answer(f"list events of {fields}", list)

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Body:
        assert kind == EVENT
        return await self.answer("create event", lambda: dict(body))

    async def apply(self, kind: Kind, manifest: Mapping[str, Any]) -> Body:
        request = f"apply {NAMES[kind]}/{manifest['metadata']['name']}"
        return await self.answer(request, lambda: self.stored.apply(manifest))

    async def merge(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        *,
        resource_version: str = "",
        subresource: str = "",
    ) -> Body:
        if kind == STORE:
            assert subresource == "status"
            return await self.answer(
                "patch status", lambda: self.stored.patch_status(patch["status"], resource_version)
            )
        owners = patch["metadata"]["ownerReferences"]
        request = f"patch {NAMES[kind]}/{name}"
        return await self.answer(request, lambda: self.stored.set_owners(NAMES[kind], name, owners, resource_version))

    async def json_patch(self, kind: Kind, namespace: str, name: str, operations: Sequence[Body]) -> Body:
        assert kind == STORE
        values = {
            operation["path"].rpartition("/")[2].replace("~1", "/").replace("~0", "~"): operation["value"]
            for operation in operations
            if operation["op"] == "test"
        }
        return await self.answer("patch annotations", lambda: self.stored.remove_annotations(values))

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, propagation: str, resource_version: str = ""
    ) -> None:
        await self.answer(f"delete {NAMES[kind]}/{name}", lambda: self.stored.delete_child(NAMES[kind], name, uid))

    async def close(self) -> None:
        pass
