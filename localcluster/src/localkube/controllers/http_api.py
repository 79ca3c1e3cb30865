"""The controllers' API over HTTP, for any Kubernetes API server, by the `kubernetes.aio` client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from kubernetes.aio import client, config

from localkube.controllers.api import NAMESPACES, PODS, SERVICE_ACCOUNTS, ApiError, Obj, Resource, WatchEvent

REQUEST_TIMEOUT_SECONDS = 30
WATCH_TIMEOUT_SECONDS = 300
LIST_PAGE = 500
MAX_LINE_BYTES = 8 * 1024 * 1024


class HttpApi:
    """`Api` over an `ApiClient`. Close it when done."""

    def __init__(self, api_client: Any) -> None:
        self._client = api_client

    @classmethod
    async def connect(cls, kubeconfig: str, context: str | None = None) -> HttpApi:
        """A connection as the kubeconfig says."""
        configuration = client.Configuration()
        configuration.connection_pool_maxsize = 0  # watches hold a connection each
        await config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Obj:
        """The object as it is now."""
        return await self._request("GET", path(resource, namespace, name))

    async def list(self, resource: Resource, namespace: str | None = None) -> tuple[list[Obj], str]:
        """All objects, and the resourceVersion they were read at."""
        items: list[Obj] = []
        token = ""
        while True:
            query = {"limit": LIST_PAGE, **({"continue": token} if token else {})}
            page = await self._request("GET", path(resource, namespace), query=query)
            for item in page.get("items") or []:
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                items.append(item)
            token = page["metadata"].get("continue", "")
            if not token:
                return items, page["metadata"]["resourceVersion"]

    async def create(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Create and return the object as stored."""
        return await self._request("POST", path(resource, namespace), body=obj)

    async def update(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Replace all but the status."""
        return await self._request("PUT", path(resource, namespace, obj["metadata"]["name"]), body=obj)

    async def update_status(self, resource: Resource, namespace: str | None, obj: Obj) -> Obj:
        """Replace the status."""
        return await self._request("PUT", path(resource, namespace, obj["metadata"]["name"], "status"), body=obj)

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
        options: Obj = {"apiVersion": "v1", "kind": "DeleteOptions"}
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        if preconditions:
            options["preconditions"] = preconditions
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if propagation is not None:
            options["propagationPolicy"] = propagation
        await self._request("DELETE", path(resource, namespace, name), body=options)

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> None:
        """Bind a pod to a node."""
        binding: Obj = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._request("POST", path(PODS, namespace, name, "binding"), body=binding)

    async def finalize_namespace(self, obj: Obj) -> None:
        """Replace a namespace's finalizers."""
        await self._request("PUT", path(NAMESPACES, None, obj["metadata"]["name"], "finalize"), body=obj)

    async def mint_token(self, namespace: str, service_account: str) -> str:
        """A bearer token of a service account, by the TokenRequest API; the server limits its life."""
        request: Obj = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 86400},
        }
        answer = await self._request("POST", path(SERVICE_ACCOUNTS, namespace, service_account, "token"), body=request)
        token: str = answer["status"]["token"]
        return token

    async def watch(self, resource: Resource, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Changes after `resource_version`, until the server ends the watch."""
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH_TIMEOUT_SECONDS,
        }
        response = await self._send("GET", path(resource, None), query, None, WATCH_TIMEOUT_SECONDS + 30)
        try:
            if response.status >= 400:
                raise _error(response.status, await response.read())
            buffered = b""
            async for chunk in response.content.iter_any():
                buffered += chunk
                if len(buffered) > MAX_LINE_BYTES:
                    raise ApiError(500, "InternalError", "a watch event is larger than this client accepts")
                *lines, buffered = buffered.split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                    yield WatchEvent(event["type"], event["object"])
        finally:
            response.close()

    async def _request(self, method: str, where: str, *, query: Obj | None = None, body: Obj | None = None) -> Obj:
        response = await self._send(method, where, query, body, REQUEST_TIMEOUT_SECONDS)
        content = await response.read()
        if response.status >= 400:
            raise _error(response.status, content)
        result: Obj = json.loads(content)
        return result

    async def _send(self, method: str, where: str, query: Obj | None, body: Obj | None, timeout_seconds: float) -> Any:
        """Send by the client's own session, authenticated as its configuration says; the raw aiohttp response."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        method, url, headers, _, _ = await self._client.param_serialize(
            method, where, header_params=headers, auth_settings=["BearerToken"]
        )
        if query:
            url += "?" + urlencode(query)
        answer = await self._client.rest_client.request(
            method, url, headers=headers, body=body, _request_timeout=timeout_seconds
        )
        return answer.response


def path(resource: Resource, namespace: str | None, name: str = "", subresource: str = "") -> str:
    """PURE: the URL path of a resource, an object or a subresource."""
    parts = ["/apis/" + resource.group if resource.group else "/api", resource.version]
    if namespace and resource.namespaced:
        parts += ["namespaces", namespace]
    parts.append(resource.plural)
    parts += [p for p in (name, subresource) if p]
    return "/".join(parts)


def _error(code: int, content: bytes) -> ApiError:
    try:
        status = json.loads(content)
    except ValueError:
        return ApiError(code, "Unknown", content[:200].decode(errors="replace"))
    return ApiError(code, status.get("reason", ""), status.get("message", ""))
