"""From an HTTP request to a handler: authentication, authorization, discovery, resources."""

from __future__ import annotations

import asyncio
import ssl
import uuid

import structlog
from aiohttp import web

from localkube.apiserver.errors import ApiError, method_not_allowed, unauthorized
from localkube.apiserver.http import handlers_patch, handlers_read, handlers_write, reviews, routes, subresources
from localkube.apiserver.http.authn import ANONYMOUS, User
from localkube.apiserver.http.call import Call, Services, WriteKey, manager_of
from localkube.apiserver.http.documents import Documents
from localkube.apiserver.http.impersonation import impersonated
from localkube.apiserver.http.list_options import check_timeout
from localkube.apiserver.http.negotiation import check_route
from localkube.apiserver.http.request_info import WRITE_VERBS, RequestInfo, parse
from localkube.apiserver.http.responses import compress, error_response, plain_response, representation
from localkube.apiserver.http.typed_body import read_object
from localkube.apiserver.http.write_options import check_options
from localkube.apiserver.resources import VIRTUAL, VirtualResource

MAX_BODY_BYTES = 3 * 1024 * 1024
_log = structlog.get_logger(__name__)


class App:
    """The HTTP side of one API server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._documents = Documents(services)
        self._headers = {
            "Cache-Control": "no-cache, private",
            "X-Kubernetes-Pf-Flowschema-Uid": str(uuid.uuid4()),
            "X-Kubernetes-Pf-Prioritylevel-Uid": str(uuid.uuid4()),
        }

    def application(self) -> web.Application:
        """Returns the aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self.handle)
        app.on_response_prepare.append(self._add_headers)
        return app

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Audit-Id"] = request.headers.get("Audit-Id") or str(uuid.uuid4())
        for name, value in self._headers.items():
            response.headers[name] = value

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve any request; every failure is a Status, or plain text where no resource is served."""
        response = await self._answered(request)
        if request.method == "GET" and isinstance(response, web.Response):
            compress(response, request.headers.get("Accept-Encoding", ""))
        return response

    async def _answered(self, request: web.Request) -> web.StreamResponse:
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
        """Returns the user whose token a request has, or whom it impersonates; without a token it is anonymous."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return ANONYMOUS
        user = self._services.authenticate(token.strip())
        if user is None:
            raise unauthorized()
        return impersonated(user, request.headers, self._services.authorizer)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        check_timeout(request.query)
        path = request.path
        parts = [part for part in path.split("/") if part]
        if not parts or parts[0] not in ("api", "apis") or len(parts) < (3 if parts[0] == "api" else 4):
            self._services.authorizer.check_path(user, request.method.lower(), path.rstrip("/") or "/")
            return self._documents.answer(request, parts)
        info = parse(request.method, path, request.query)
        virtual = self._virtual(info)
        if virtual is not None:
            return await self._review(request, user, info, virtual)
        self._services.authorizer.check(user, info)
        resource = self._services.registry.served(info.group, info.version, info.plural)
        headers = request.headers
        routes.check(resource, info, request.method, headers.get("Accept", ""), headers.get("Content-Type", ""))
        warnings = [resource.deprecation] if resource.deprecation else []
        call = Call(self._services, request, info, user, resource, warnings)
        if info.subresource in ("", "status"):
            representation(call)
        data = await request.read() if request.can_read_body else b""
        if info.verb in WRITE_VERBS and not request.query.get("dryRun"):
            self._services.writes[WriteKey(user.name, info.verb, info.resource_and_sub)] += 1
        try:
            return await self._dispatch(call, data)
        except ApiError as error:
            error.warnings = tuple(dict.fromkeys((*call.warnings, *error.warnings)))
            raise

    async def _dispatch(self, call: Call, data: bytes) -> web.StreamResponse:
        info = call.info
        if info.verb in WRITE_VERBS:
            check_options(call)
        if info.subresource and info.subresource != "status":
            return await subresources.handle(call, data)
        match info.verb:
            case "get":
                return handlers_read.get_object(call)
            case "list":
                return handlers_read.list_objects(call)
            case "watch":
                return await handlers_read.watch_objects(call)
            case "create":
                return handlers_write.create_object(call, data)
            case "update":
                return handlers_write.update_object(call, data)
            case "patch":
                return handlers_patch.patch_object(call, data)
            case "delete":
                return handlers_write.delete_object(call, data)
            case "deletecollection":
                return handlers_write.delete_collection(call, data)
        raise method_not_allowed()

    def _virtual(self, info: RequestInfo) -> VirtualResource | None:
        at = (info.group, info.version, info.plural)
        return next((item for item in VIRTUAL if (item.group, item.version, item.plural) == at), None)

    async def _review(
        self, request: web.Request, user: User, info: RequestInfo, virtual: VirtualResource
    ) -> web.StreamResponse:
        self._services.authorizer.check(user, info)
        if info.verb != "create":
            raise method_not_allowed()
        check_route(request.headers.get("Accept", ""), stream=False)
        data, content_type = await request.read(), request.headers.get("Content-Type", "")
        mode = request.query.get("fieldValidation", "")
        body, warnings = read_object(self._services.schemas, virtual.type, data, content_type, mode)
        answer = reviews.answer(self._services, user, virtual, body, manager_of(request))
        return plain_response(request, answer, status=201, warnings=warnings)
