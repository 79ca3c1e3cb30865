"""A thin client of the Kubernetes API: plain dictionaries, over the asyncio half of the ``kubernetes`` library."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from rstore_api.domain.kubernetes import CHILD_KINDS, CLAIM, KIND, OPERATOR_FIELD_MANAGER, STORE

from rstore_operator.resource.model import StoreRef

REQUEST_TIMEOUT_SECONDS = 10
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"


class KubernetesError(Exception):
    """The API server refused; ``status`` is the HTTP status, the text is its message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)

    @property
    def conflict(self) -> bool:
        """Whether somebody else was faster."""
        return self.status == 409

    @property
    def invalid(self) -> bool:
        """Whether what was sent does not fit the schema."""
        return self.status == 422

    @property
    def forbidden(self) -> bool:
        """Whether the operator may not do that."""
        return self.status == 403

    @property
    def not_found(self) -> bool:
        """Whether there is no such object."""
        return self.status == 404


async def load_configuration() -> client.Configuration:
    """The cluster of ``KUBECONFIG`` if that is set, else the one this pod runs in. Raises ConfigException."""
    configuration = client.Configuration()
    if os.environ.get("KUBECONFIG"):
        await config.load_kube_config(os.environ["KUBECONFIG"], client_configuration=configuration)
    else:
        config.load_incluster_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = 64
    # As kopf's own requests: proxies of the environment are meant for what is outside the cluster.
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


class Kubernetes:
    """Requests as the operator makes them. Every method may raise KubernetesError and, on a broken connection, OSError
    or TimeoutError."""

    _last_event = 0  # what the newest Event's name ends with

    def __init__(self, configuration: client.Configuration) -> None:
        self._api = client.ApiClient(configuration)

    @classmethod
    async def connect(cls) -> Kubernetes:
        """A client for the cluster that the environment names."""
        return cls(await load_configuration())

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    # ------------------------------------------------------------------------------------------ the store
    async def get_store(self, namespace: str, name: str) -> dict[str, Any]:
        """The object as it is now."""
        return await self._request("GET", STORE.path(namespace, name))

    async def patch_status(
        self, namespace: str, name: str, patch: Mapping[str, Any], resource_version: str
    ) -> dict[str, Any]:
        """Merge into the status, if the object still is of that version; the new object comes back."""
        body = {"metadata": {"resourceVersion": resource_version}, "status": patch}
        query = {"fieldManager": OPERATOR_FIELD_MANAGER}
        return await self._request("PATCH", f"{STORE.path(namespace, name)}/status", _MERGE, body, query)

    async def remove_annotations(self, namespace: str, name: str, values: Mapping[str, str]) -> None:
        """Take annotations off that still have these values; ones that have changed stay."""
        operations: list[dict[str, str]] = []
        for key, value in values.items():
            path = "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")
            operations += [{"op": "test", "path": path, "value": value}, {"op": "remove", "path": path}]
        query = {"fieldManager": OPERATOR_FIELD_MANAGER}
        await self._request("PATCH", STORE.path(namespace, name), _JSON_PATCH, operations, query)

    # ------------------------------------------------------------------------------------------ children
    async def get_child(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """A child, or None when there is none."""
        try:
            return await self._request("GET", CHILD_KINDS[kind].path(namespace, name))
        except KubernetesError as error:
            if error.not_found:
                return None
            raise

    async def get_claim(self, namespace: str, name: str) -> dict[str, Any] | None:
        """A PersistentVolumeClaim, or None when there is none."""
        try:
            return await self._request("GET", CLAIM.path(namespace, name))
        except KubernetesError as error:
            if error.not_found:
                return None
            raise

    async def grow_claim(self, namespace: str, name: str, size: str, resource_version: str) -> None:
        """Ask for a larger volume, if the claim still is of that version."""
        body = {
            "metadata": {"resourceVersion": resource_version},
            "spec": {"resources": {"requests": {"storage": size}}},
        }
        path = CLAIM.path(namespace, name)
        await self._request("PATCH", path, _MERGE, body, {"fieldManager": OPERATOR_FIELD_MANAGER})

    async def set_owners(
        self, kind: str, namespace: str, name: str, owners: Sequence[Mapping[str, Any]], resource_version: str
    ) -> dict[str, Any]:
        """Replace its owner references, if it still is of that version; the new object comes back."""
        body = {"metadata": {"resourceVersion": resource_version, "ownerReferences": list(owners)}}
        query = {"fieldManager": OPERATOR_FIELD_MANAGER}
        return await self._request("PATCH", CHILD_KINDS[kind].path(namespace, name), _MERGE, body, query)

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply; fields that others set and that we want otherwise become ours."""
        meta = manifest["metadata"]
        path = CHILD_KINDS[manifest["kind"]].path(meta["namespace"], meta["name"])
        query = {"fieldManager": OPERATOR_FIELD_MANAGER, "force": "true"}
        return await self._request("PATCH", path, _APPLY, manifest, query)

    async def delete_child(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete it and what it owns, if it is the one of that uid; not an error when it is gone."""
        await self._delete(kind, namespace, name, uid, "Background")

    async def orphan_children_of(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete it and leave what it owns, if it is the one of that uid; not an error when it is gone."""
        await self._delete(kind, namespace, name, uid, "Orphan")

    async def _delete(self, kind: str, namespace: str, name: str, uid: str, propagation: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": propagation,
        }
        try:
            await self._request("DELETE", CHILD_KINDS[kind].path(namespace, name), "application/json", body)
        except KubernetesError as error:
            if not error.not_found:
                raise

    # ------------------------------------------------------------------------------------------ events
    async def failed_creations(self, namespace: str, stateful_set: str) -> list[dict[str, Any]]:
        """Events about pods and claims that this StatefulSet's controller could not create; at most 100."""
        fields = f"involvedObject.kind=StatefulSet,involvedObject.name={stateful_set},reason=FailedCreate"
        query = {"fieldSelector": fields, "limit": "100"}
        listed = await self._request("GET", f"/api/v1/namespaces/{namespace}/events", query=query)
        return list(listed.get("items") or [])

    async def post_event(
        self, ref: StoreRef, resource_version: str, reason: str, message: str, warning: bool, now: datetime
    ) -> None:
        """An Event about the store. Events of the same second sort by name in the order in which they are posted."""
        moment = now.astimezone(UTC)
        self._last_event = max(self._last_event + 1, int(moment.timestamp() * 1e9))
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "apiVersion": "v1",
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
        await self._request("POST", f"/api/v1/namespaces/{ref.namespace}/events", "application/json", body)

    async def _request(
        self,
        method: str,
        path: str,
        content_type: str = "application/json",
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": OPERATOR_FIELD_MANAGER}
        method, url, headers, _, _ = await self._api.param_serialize(
            method, path, header_params=headers, query_params=[], auth_settings=["BearerToken"]
        )
        if query:
            url = f"{url}?{urlencode(query)}"
        try:
            response = await self._api.call_api(
                method, url, header_params=headers, body=body, _request_timeout=REQUEST_TIMEOUT_SECONDS
            )
            data = await response.read()
        except ApiException as error:
            raise KubernetesError(int(error.status or 0), str(error.reason or ""), str(error.reason)) from error
        except aiohttp.ClientError as error:
            raise ConnectionError(f"the API server cannot be reached: {str(error) or type(error).__name__}") from error
        document = _document(data)
        if not 200 <= response.status <= 299:
            message = str(document.get("message") or response.reason or "the API server gave no reason")
            raise KubernetesError(response.status, str(document.get("reason") or ""), message)
        return document


def _document(data: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(data) if data else {}
    except ValueError:
        return {"message": data[:200].decode(errors="replace")}
    return parsed if isinstance(parsed, dict) else {}
