"""What the operator asks of the Kubernetes API: its store objects, their children, and Events."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rstore_api.domain.kubernetes import CHILD_KINDS, CLAIM, EVENT, KIND, OPERATOR_FIELD_MANAGER, STORE
from rstore_kube.access import from_kubeconfig, from_pod
from rstore_kube.client import KubeClient

from rstore_operator.resource.model import StoreRef

REQUEST_TIMEOUT_SECONDS = 10


class Kubernetes:
    """Requests as the operator makes them. Every method raises as those of :class:`KubeClient` do."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._last_event = 0  # what the newest Event's name ends with

    @classmethod
    async def connect(cls) -> Kubernetes:
        """A client for the cluster of ``KUBECONFIG`` if that is set, else of the one this pod runs in.

        Proxies of the environment are meant for what is outside the cluster, as with kopf's own requests.
        Raises ConfigurationError.
        """
        paths = os.environ.get("KUBECONFIG")
        access = await from_kubeconfig(paths) if paths else from_pod()
        return cls(KubeClient(access, field_manager=OPERATOR_FIELD_MANAGER, timeout_seconds=REQUEST_TIMEOUT_SECONDS))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    # ------------------------------------------------------------------------------------------ the store
    async def get_store(self, namespace: str, name: str) -> dict[str, Any]:
        """The object as it is now."""
        return await self._client.get(STORE, namespace, name)

    async def patch_status(
        self, namespace: str, name: str, patch: Mapping[str, Any], resource_version: str
    ) -> dict[str, Any]:
        """Merge into the status, if the object still is of that version; the new object comes back."""
        return await self._client.merge(
            STORE, namespace, name, {"status": patch}, resource_version=resource_version, subresource="status"
        )

    async def remove_annotations(self, namespace: str, name: str, values: Mapping[str, str]) -> None:
        """Take annotations off that still have these values; none goes when one of them has changed."""
        operations: list[dict[str, Any]] = []
        for key, value in values.items():
            path = "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")
            operations += [{"op": "test", "path": path, "value": value}, {"op": "remove", "path": path}]
        await self._client.json_patch(STORE, namespace, name, operations)

    # ------------------------------------------------------------------------------------------ children
    async def get_child(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """A child, or None when there is none."""
        return await self._client.find(CHILD_KINDS[kind], namespace, name)

    async def get_claim(self, namespace: str, name: str) -> dict[str, Any] | None:
        """A PersistentVolumeClaim, or None when there is none."""
        return await self._client.find(CLAIM, namespace, name)

    async def grow_claim(self, namespace: str, name: str, size: str, resource_version: str) -> None:
        """Ask for a larger volume, if the claim still is of that version."""
        patch = {"spec": {"resources": {"requests": {"storage": size}}}}
        await self._client.merge(CLAIM, namespace, name, patch, resource_version=resource_version)

    async def set_owners(
        self, kind: str, namespace: str, name: str, owners: Sequence[Mapping[str, Any]], resource_version: str
    ) -> dict[str, Any]:
        """Replace its owner references, if it still is of that version; the new object comes back."""
        patch = {"metadata": {"ownerReferences": list(owners)}}
        return await self._client.merge(CHILD_KINDS[kind], namespace, name, patch, resource_version=resource_version)

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply; fields that others set and that we want otherwise become ours."""
        return await self._client.apply(CHILD_KINDS[manifest["kind"]], manifest)

    async def delete_child(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete it and what it owns, if it is the one of that uid; not an error when it is gone."""
        await self._client.delete(CHILD_KINDS[kind], namespace, name, uid=uid, propagation="Background")

    async def orphan_children_of(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete it and leave what it owns, if it is the one of that uid; not an error when it is gone."""
        await self._client.delete(CHILD_KINDS[kind], namespace, name, uid=uid, propagation="Orphan")

    # ------------------------------------------------------------------------------------------ events
    async def failed_creations(self, namespace: str, stateful_set: str) -> list[dict[str, Any]]:
        """Events about pods and claims that this StatefulSet's controller could not create; at most 100."""
        fields = f"involvedObject.kind=StatefulSet,involvedObject.name={stateful_set},reason=FailedCreate"
        return await self._client.list(EVENT, namespace, fields=fields, limit=100)

    async def post_event(
        self, ref: StoreRef, resource_version: str, reason: str, message: str, warning: bool, now: datetime
    ) -> None:
        """An Event about the store. Events of the same second sort by name in the order in which they are posted."""
        moment = now.astimezone(UTC)
        self._last_event = max(self._last_event + 1, int(moment.timestamp() * 1e9))
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "apiVersion": EVENT.api_version,
            "kind": "Event",
            "metadata": {"name": f"{ref.name[:40].rstrip('-')}.{self._last_event:016x}", "namespace": ref.namespace},
            "involvedObject": {
                "apiVersion": STORE.api_version,
                "kind": KIND,
                "name": ref.name,
                "namespace": ref.namespace,
                "uid": ref.uid,
                "resourceVersion": resource_version,
            },
            "reason": reason,
            "message": message[:1024],
            "type": "Warning" if warning else "Normal",
            "source": {"component": OPERATOR_FIELD_MANAGER},
            "reportingComponent": OPERATOR_FIELD_MANAGER,
            "reportingInstance": os.environ.get("HOSTNAME", OPERATOR_FIELD_MANAGER)[:128],
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        await self._client.create(EVENT, ref.namespace, body)
