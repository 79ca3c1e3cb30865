"""From an HTTP request to a handler: authentication, authorization, discovery, resources."""

from __future__ import annotations

import asyncio
import ssl

import structlog
from aiohttp import web

from rstore_devcluster.apiserver.describe import discovery, openapi, openapi_protobuf
from rstore_devcluster.apiserver.http import handlers_read, handlers_write, reviews
from rstore_devcluster.apiserver.http.authn import ANONYMOUS, User
from rstore_devcluster.apiserver.http.body import decode
from rstore_devcluster.apiserver.http.errors import (
    ApiError,
    method_not_allowed,
    no_such_resource,
    not_acceptable,
    unauthorized,
)
from rstore_devcluster.apiserver.http.options import KUBERNETES_VERSION
from rstore_devcluster.apiserver.http.request_info import WRITE_VERBS, RequestInfo, parse
from rstore_devcluster.apiserver.http.responses import error_response, json_response
from rstore_devcluster.apiserver.jsonobj import JsonObject
from rstore_devcluster.apiserver.objects import subresources
from rstore_devcluster.apiserver.objects.resources import EVENTS_V1, VIRTUAL, Resource, VirtualResource
from rstore_devcluster.apiserver.objects.services import Call, Services, WriteKey

MAX_BODY_BYTES = 3 * 1024 * 1024
_log = structlog.get_logger(__name__)
_IMPERSONATE = "Impersonate-"


class App:
    """The HTTP side of one API server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._openapi_v2: tuple[int, JsonObject] | None = None

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve any request; every failure is a Status."""
        try:
            return await self._route(request)
        except ApiError as error:
            return error_response(error, request)
        except web.HTTPRequestEntityTooLarge:
            message = f"Request entity too large: limit is {MAX_BODY_BYTES}"
            return error_response(ApiError(413, "RequestEntityTooLarge", message), request)
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            raise
        except Exception as error:
            _log.exception("apiserver.request_failed", method=request.method, path=request.path)
            message = f"Internal error occurred: {type(error).__name__}: {error}"
            return error_response(ApiError(500, "InternalError", message), request)

    def _user(self, request: web.Request) -> User:
        header = request.headers.get("Authorization", "")
        if not header:
            return ANONYMOUS
        scheme, _, token = header.partition(" ")
        user = self._services.tokens.authenticate(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise unauthorized()
        name = request.headers.get(f"{_IMPERSONATE}User")
        if not name:
            return user
        for kind, value in (
            ("users", name),
            *(("groups", item) for item in request.headers.getall(f"{_IMPERSONATE}Group", [])),
        ):
            self._services.authorizer.check(user, RequestInfo("impersonate", "", "v1", "", kind, value))
        groups = {*request.headers.getall(f"{_IMPERSONATE}Group", []), "system:authenticated"}
        if name.startswith("system:serviceaccount:"):
            groups |= {"system:serviceaccounts", f"system:serviceaccounts:{name.split(':')[2]}"}
        return User(name, frozenset(groups))

    async def _route(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        path = request.path
        parts = [part for part in path.split("/") if part]
        if not parts or parts[0] not in ("api", "apis") or len(parts) < (3 if parts[0] == "api" else 4):
            return self._document(request, user, parts)
        info = parse(request.method, path, request.query)
        if user is ANONYMOUS:
            raise unauthorized()
        virtual = self._virtual(info)
        if virtual is not None:
            return await self._review(request, user, info, virtual)
        self._services.authorizer.check(user, info)
        resource = self._resource(info)
        if resource.namespaced and info.verb in ("create", "get", "update", "patch", "delete") and not info.namespace:
            raise method_not_allowed() if info.verb == "create" else no_such_resource()
        if not resource.namespaced and info.namespace and resource.key != "namespaces":
            raise no_such_resource()
        data = await request.read() if request.can_read_body else b""
        if info.verb in WRITE_VERBS and not request.query.get("dryRun"):
            self._services.writes[WriteKey(user.name, info.verb, info.resource_and_sub)] += 1
        return await self._dispatch(Call(self._services, request, info, user, resource, []), data)

    async def _dispatch(self, call: Call, data: bytes) -> web.StreamResponse:
        info = call.info
        if info.verb in WRITE_VERBS:
            handlers_write.check_dry_run(call)
        if info.subresource and info.subresource != "status":
            return await subresources.handle(call, data)
        if info.subresource and not (call.resource.has_status and info.verb in ("get", "update", "patch")):
            raise method_not_allowed() if call.resource.has_status else no_such_resource()
        match info.verb:
            case "get":
                return handlers_read.get_object(call)
            case "list":
                return handlers_read.list_objects(call)
            case "watch":
                return await handlers_read.watch_objects(call)
            case "create" if not info.name:
                return handlers_write.create_object(call, data)
            case "update" if info.name:
                return handlers_write.update_object(call, data)
            case "patch" if info.name:
                return handlers_write.patch_object(call, data)
            case "delete":
                return handlers_write.delete_object(call, data)
            case "deletecollection":
                return handlers_write.delete_collection(call, data)
        raise method_not_allowed()

    def _resource(self, info: RequestInfo) -> Resource:
        if (info.group, info.version, info.plural) == (EVENTS_V1.group, EVENTS_V1.version, EVENTS_V1.plural):
            return EVENTS_V1
        return self._services.registry.served(info.group, info.version, info.plural)

    def _virtual(self, info: RequestInfo) -> VirtualResource | None:
        at = (info.group, info.version, info.plural)
        return next((item for item in VIRTUAL if (item.group, item.version, item.plural) == at), None)

    async def _review(
        self, request: web.Request, user: User, info: RequestInfo, virtual: VirtualResource
    ) -> web.StreamResponse:
        if info.verb != "create":
            raise method_not_allowed()
        self._services.authorizer.check(user, info)
        body = decode(await request.read(), request.headers.get("Content-Type", "")).as_object()
        return json_response(reviews.answer(self._services, user, virtual, body), status=201)

    # ---- documents

    def _document(self, request: web.Request, user: User, parts: list[str]) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        path = request.path.rstrip("/") or "/"
        if not parts:
            paths = ["/api", "/apis", "/healthz", "/livez", "/readyz", "/openapi/v2", "/openapi/v3", "/version"]
            self._services.authorizer.check_path(user, "get", "/api")
            return json_response({"paths": paths})
        self._services.authorizer.check_path(user, "get", path)
        match parts:
            case ["healthz" | "livez" | "readyz", *_]:
                return web.Response(text="ok")
            case ["version"]:
                major, minor, version = KUBERNETES_VERSION
                return json_response(
                    {
                        "major": major,
                        "minor": minor,
                        "gitVersion": version,
                        "gitCommit": "",
                        "gitTreeState": "clean",
                        "buildDate": "1970-01-01T00:00:00Z",
                        "goVersion": "",
                        "compiler": "",
                        "platform": "linux/amd64",
                    }
                )
            case ["api" | "apis", *_]:
                return self._discovery(request, parts)
            case ["openapi", *rest]:
                return self._openapi(request, rest)
            case ["debug", "writes"]:
                return json_response({"writes": self._writes()})
        raise no_such_resource()

    def _writes(self) -> list[JsonObject]:
        counted = self._services.writes.items()
        return [
            {"user": key.user, "verb": key.verb, "resource": key.resource, "count": count} for key, count in counted
        ]

    def _discovery(self, request: web.Request, parts: list[str]) -> web.Response:
        registry = self._services.registry
        core = parts[0] == "api"
        if len(parts) == 1:
            if discovery.accepts_aggregated(request.headers.get("Accept", "")):
                document = discovery.aggregated(registry, core=core)
                return json_response(document, content_type=discovery.AGGREGATED)
            return json_response(discovery.api_versions() if core else discovery.group_list(registry))
        if core:
            found = discovery.resource_list(registry, "", parts[1])
        elif len(parts) == 2:
            found = discovery.group(registry, parts[1])
        else:
            found = discovery.resource_list(registry, parts[1], parts[2])
        if found is None:
            raise no_such_resource()
        return json_response(found)

    def _openapi(self, request: web.Request, rest: list[str]) -> web.Response:
        registry, schemas = self._services.registry, self._services.schemas
        accept = request.headers.get("Accept", "")
        if rest == ["v2"] and openapi_protobuf.MEDIA_TYPE in accept:
            return web.Response(
                body=openapi_protobuf.document(registry), headers={"Content-Type": openapi_protobuf.ANSWER_TYPE}
            )
        if accept and "json" not in accept and "*/*" not in accept:
            raise not_acceptable(f"OpenAPI documents are served as application/json only (asked for {accept})")
        match rest:
            case ["v2"]:
                if self._openapi_v2 is None or self._openapi_v2[0] != registry.version:
                    self._openapi_v2 = (registry.version, openapi.swagger(registry, schemas))
                return json_response(self._openapi_v2[1])
            case ["v3"]:
                return json_response(openapi.index(registry))
            case ["v3", "api", version]:
                found = openapi.document(registry, schemas, "", version)
            case ["v3", "apis", group, version]:
                found = openapi.document(registry, schemas, group, version)
            case _:
                found = None
        if found is None:
            raise no_such_resource()
        return json_response(found)
