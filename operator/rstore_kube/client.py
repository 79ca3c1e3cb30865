"""The requests, made with the asyncio half of the ``kubernetes`` library.

Of the library only credentials, certificates and connections are used (:mod:`rstore_kube.library`): its classes for
each kind of object lose fields that they do not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from rstore_api.domain.kubernetes import POD, Kind

from rstore_kube.access import Access
from rstore_kube.errors import ApiError
from rstore_kube.library import ApiException, RESTClientObject
from rstore_kube.pod_port import PROTOCOL, PodPort

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_JSON = "application/json"
MAX_CONNECTIONS = 64
MAX_REQUESTS = 16
"""At a time, logs that are followed and ports not counted: each takes a connection of 0.1 to 0.5 MiB, by the size of
asyncio's TLS buffers. The time that a request
waits for others does not count for its timeout."""
FOLLOW_SECONDS = 86_400.0
"""How long a log is followed at most."""

Object = dict[str, Any]
Requested = Callable[[str, str, int, float], None]
"""Called after each request with its verb and kind, as RBAC names them, the HTTP status (0: no answer), and how long it
took, in seconds."""


def ignore(_verb: str, _kind: str, _status: int, _seconds: float) -> None:
    """Does nothing."""


class KubeClient:
    """One API server. Requests raise ApiError, and OSError or TimeoutError when no answer comes; none is repeated."""

    def __init__(
        self,
        access: Access,
        *,
        field_manager: str,
        timeout_seconds: float,
        uses_proxies: bool = False,
        requested: Requested = ignore,
    ) -> None:
        """``field_manager`` is the name under which fields are written; ``uses_proxies`` is whether the proxies that
        the environment names are used; ``requested`` is called after each request."""
        configuration = access.configuration
        configuration.connection_pool_maxsize = MAX_CONNECTIONS
        configuration.client_session_kwargs = {"trust_env": uses_proxies}
        self.host = str(configuration.host)
        self._configuration = configuration
        self._connections = RESTClientObject(configuration)
        self._field_manager = field_manager
        self._timeout_seconds = timeout_seconds
        self._requested = requested
        self._slots = asyncio.Semaphore(MAX_REQUESTS)

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Returns the object as it is now."""
        return await self._request("GET", kind.path(namespace, name))

    async def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Returns the object as it is now, None if there is none."""
        try:
            return await self.get(kind, namespace, name)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def list(
        self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int = 0
    ) -> list[Object]:
        """Returns the objects that the selectors choose, at most ``limit`` of them unless that is 0."""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(limit) if limit else ""}
        document = await self._request("GET", kind.path(namespace), query={k: v for k, v in query.items() if v})
        return list(document.get("items") or [])

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """Make a new object, and return it."""
        return await self._request("POST", kind.path(namespace), _JSON, body)

    async def apply(self, kind: Kind, manifest: Mapping[str, Any]) -> Object:
        """Make or change the object by server-side apply, and return it; fields that others set differently become
        ours."""
        meta = manifest["metadata"]
        query = {"fieldManager": self._field_manager, "force": "true"}
        return await self._request("PATCH", kind.path(meta["namespace"], meta["name"]), _APPLY, manifest, query)

    async def merge(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        *,
        resource_version: str = "",
        subresource: str = "",
    ) -> Object:
        """Change the object by JSON merge patch, if it still is of that version where one is given, and return it."""
        if resource_version:
            patch = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": resource_version}}
        path = kind.path(namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._request("PATCH", path, _MERGE, patch, {"fieldManager": self._field_manager})

    async def json_patch(self, kind: Kind, namespace: str, name: str, operations: Sequence[Object]) -> Object:
        """Change the object by JSON patch, by all of the operations or none, and return it."""
        query = {"fieldManager": self._field_manager}
        return await self._request("PATCH", kind.path(namespace, name), _JSON_PATCH, list(operations), query)

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, propagation: str, resource_version: str = ""
    ) -> None:
        """Delete the object of that uid, and of that version where one is given; not an error when it is gone.
        ``propagation`` is that of DeleteOptions."""
        version = {"resourceVersion": resource_version} if resource_version else {}
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, **version},
            "propagationPolicy": propagation,
        }
        try:
            await self._request("DELETE", kind.path(namespace, name), _JSON, options)
        except ApiError as error:
            if not error.not_found:
                raise

    async def log(self, namespace: str, pod: str, *, tail: int, previous: bool = False) -> str:
        """Returns the newest lines of a pod's log; of the container before the last restart if ``previous``."""
        query = {"tailLines": str(tail), "previous": "true" if previous else "false"}
        method, url, headers = await self._prepare("GET", POD.path(namespace, pod) + "/log", query, accept="*/*")
        response, data = await self._exchange(method, url, headers, None)
        if not 200 <= response.status <= 299:
            raise _refusal(response, parse_document(data))
        return data.decode(errors="replace")

    async def follow_log(self, namespace: str, pod: str, *, tail: int) -> AsyncIterator[str]:
        """Yields the newest lines of a pod's log and those that come, until the container ends, for FOLLOW_SECONDS at
        most."""
        query = {"tailLines": str(tail), "follow": "true"}
        method, url, headers = await self._prepare("GET", POD.path(namespace, pod) + "/log", query, accept="*/*")
        try:
            response = await self._connections.request(method, url, headers=headers, _request_timeout=FOLLOW_SECONDS)
            if not 200 <= response.status <= 299:
                raise _refusal(response, parse_document(await response.read()))
            async for line in response.response.content:
                yield line.decode(errors="replace").rstrip("\n")
        except aiohttp.ClientError as error:
            raise ConnectionError(f"the API server cannot be reached: {str(error) or type(error).__name__}") from error

    async def open_port(self, namespace: str, pod: str, port: int) -> PodPort:
        """Returns a connection to a pod's port, which the caller closes."""
        path = POD.path(namespace, pod) + "/portforward"
        _, url, headers = await self._prepare("GET", path, {"ports": str(port)})
        # As the library's WsApiClient does it, which leaves the proxy and the TLS server name out.
        rest = self._connections
        rest.pool_manager = rest.pool_manager or rest._create_pool_manager()
        try:
            connection = await rest.pool_manager.ws_connect(
                url,
                headers=headers,
                protocols=[PROTOCOL],
                max_msg_size=0,
                proxy=rest.proxy,
                proxy_headers=rest.proxy_headers,
                server_hostname=self._configuration.tls_server_name,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(error.status, "", f"{error.message} (HTTP {error.status})") from error
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        return PodPort(connection)

    async def _prepare(
        self, method: str, path: str, query: Mapping[str, str], content_type: str = _JSON, accept: str = _JSON
    ) -> tuple[str, str, dict[str, str]]:
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": self._field_manager}
        for credentials in (await self._configuration.auth_settings()).values():
            headers[credentials["key"]] = credentials["value"]
        return method, f"{self.host}{path}" + (f"?{urlencode(query)}" if query else ""), headers

    async def _request(
        self,
        method: str,
        path: str,
        content_type: str = _JSON,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Object:
        clock = asyncio.get_running_loop().time
        began, status = clock(), 0
        try:
            document = await self._answer(method, path, content_type, body, query)
            status = 200
        except ApiError as error:
            status = error.status
            raise
        finally:
            self._requested(*verb_and_kind(method, path), status, clock() - began)
        return document

    async def _answer(
        self, method: str, path: str, content_type: str, body: object, query: Mapping[str, str] | None
    ) -> Object:
        response, data = await self._exchange(*await self._prepare(method, path, query or {}, content_type), body)
        document = parse_document(data)
        if not 200 <= response.status <= 299:
            raise _refusal(response, document)
        return document

    async def _exchange(self, method: str, url: str, headers: dict[str, str], body: object) -> tuple[Any, bytes]:
        """Returns the library's response, and what it holds."""
        try:
            async with self._slots:
                response = await self._connections.request(
                    method, url, headers=headers, body=body, _request_timeout=self._timeout_seconds
                )
                return response, await response.read()
        except ApiException as error:
            raise ApiError(int(error.status or 0), str(error.reason or ""), str(error.reason)) from error
        except aiohttp.ClientError as error:
            raise ConnectionError(f"the API server cannot be reached: {str(error) or type(error).__name__}") from error


def _refusal(response: Any, document: Object) -> ApiError:
    message = str(document.get("message") or response.reason or "the API server gave no reason")
    return ApiError(response.status, str(document.get("reason") or ""), message)


def verb_and_kind(method: str, path: str) -> tuple[str, str]:
    """Returns what a request does, as RBAC names it: ``("patch", "replicatedstores/status")``."""
    parts = path.strip("/").split("/")
    parts = parts[2 if parts[0] == "api" else 3 :]
    if parts[0] == "namespaces" and len(parts) > 2:
        parts = parts[2:]
    verbs = {"GET": "get" if len(parts) > 1 else "list", "POST": "create"}
    return verbs.get(method, method.lower()), "/".join([parts[0], *parts[2:]])


def parse_document(data: bytes) -> Object:
    """Returns an answer as a dictionary; what is no JSON object becomes the ``message`` of one."""
    try:
        parsed = msgspec.json.decode(data) if data else {}
    except (ValueError, msgspec.DecodeError):
        return {"message": data[:200].decode(errors="replace").strip()}
    return parsed if isinstance(parsed, dict) else {}
