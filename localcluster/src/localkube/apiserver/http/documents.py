"""What is served beside resources: health, version, discovery, OpenAPI, counters."""

from __future__ import annotations

import platform
from typing import Any

from aiohttp import web

from localkube.apiserver.describe import discovery, openapi, openapi_protobuf
from localkube.apiserver.errors import PageNotFoundError, method_not_allowed, no_such_resource, not_acceptable
from localkube.apiserver.http.call import Services
from localkube.apiserver.http.negotiation import JSON, accepted_document
from localkube.apiserver.http.options import KUBERNETES_VERSION
from localkube.apiserver.http.responses import encoded_response
from localkube.apiserver.jsonobj import JsonObject

_HEALTH = frozenset({"healthz", "livez", "readyz"})
_TEXT = "text/plain; charset=utf-8"


class Documents:
    """Answers requests on paths that are no resources."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def answer(self, request: web.Request, parts: list[str]) -> web.Response:
        """Returns the document at a path; raises 404 in plain text for what is not served, 405 for another method than
        GET."""
        if parts and parts[0] in _HEALTH and len(parts) <= 2:
            return web.Response(text="ok")
        value, content_type = self._value(request, parts)
        if request.method != "GET":
            raise method_not_allowed()
        if isinstance(value, web.Response):
            return value
        response = encoded_response(request, value, content_type or accepted_document(_accept(request)))
        if parts in (["api"], ["apis"]):
            response.headers["Vary"] = "Accept"
        return response

    def _value(self, request: web.Request, parts: list[str]) -> tuple[Any, str]:
        """Returns the document, and its media type where the client has no choice."""
        match parts:
            case []:
                return {"paths": discovery.paths(self._services.registry)}, JSON
            case ["version"]:
                return _version(), JSON
            case ["api" | "apis", *_]:
                return self._discovery(request, parts)
            case ["openapi", *rest]:
                return self._openapi(request, rest)
            case ["debug", "writes"]:
                return {"writes": self._writes()}, JSON
        raise PageNotFoundError

    def _writes(self) -> list[JsonObject]:
        counted = self._services.writes.items()
        return [
            {"user": key.user, "verb": key.verb, "resource": key.resource, "count": count} for key, count in counted
        ]

    def _discovery(self, request: web.Request, parts: list[str]) -> tuple[Any, str]:
        registry = self._services.registry
        core = parts[0] == "api"
        if len(parts) == 1:
            if request.method == "GET" and discovery.accepts_aggregated(_accept(request)):
                return discovery.aggregated(registry, core=core), discovery.AGGREGATED
            return discovery.api_versions(request.host) if core else discovery.group_list(registry), ""
        if core:
            document = discovery.resource_list(registry, "", parts[1])
        elif len(parts) == 2:
            document = discovery.group(registry, parts[1])
        else:
            document = discovery.resource_list(registry, parts[1], parts[2])
        if document is not None:
            return document, ""
        if core or (len(parts) == 3 and registry.built_in(parts[1])):
            raise no_such_resource()
        raise PageNotFoundError

    def _openapi(self, request: web.Request, rest: list[str]) -> tuple[Any, str]:
        registry = self._services.registry
        document: JsonObject | None = None
        match rest:
            case ["v2"]:
                if openapi_protobuf.MEDIA_TYPE not in _accept(request):
                    raise not_acceptable(f"/openapi/v2 is served as {openapi_protobuf.MEDIA_TYPE} only")
                body = openapi_protobuf.document(registry)
                return web.Response(body=body, headers={"Content-Type": openapi_protobuf.ANSWER_TYPE}), ""
            case ["v3"]:
                return openapi.index(registry), _TEXT
            case ["v3", "version"]:
                document = openapi.version_document()
            case ["v3", "api", version]:
                document = openapi.document(registry, "", version)
            case ["v3", "apis", group, version]:
                document = openapi.document(registry, group, version)
        if document is None:
            raise PageNotFoundError
        return document, accepted_document(_accept(request))


def _accept(request: web.Request) -> str:
    return request.headers.get("Accept", "")


def _version() -> JsonObject:
    major, minor, version = KUBERNETES_VERSION
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation(),
        "platform": f"{platform.system().lower()}/{machine}",
    }
