"""Subresources other than status: scale, finalize, eviction, binding, token, log, and those that are refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from aiohttp import web

from localkube.apiserver.errors import (
    ApiError,
    Cause,
    bad_request,
    invalid,
    method_not_allowed,
    no_such_resource,
    not_implemented,
)
from localkube.apiserver.http.authn import ISSUER
from localkube.apiserver.http.call import Call
from localkube.apiserver.http.handlers_write import update_object
from localkube.apiserver.http.list_options import flag
from localkube.apiserver.http.options import LogRequest
from localkube.apiserver.http.portforward import port_forward
from localkube.apiserver.http.responses import add_warnings, value_response
from localkube.apiserver.http.scale import scale
from localkube.apiserver.http.typed_body import read_object
from localkube.apiserver.jsonobj import JsonObject, format_time, lookup
from localkube.apiserver.objects.selectors import from_label_selector, labels_match
from localkube.apiserver.resources import BINDING, EVICTION, TOKEN_REQUEST, Resource

Handler = Callable[[Call, bytes], Awaitable[web.StreamResponse]]


async def handle(call: Call, data: bytes) -> web.StreamResponse:
    """Serve a subresource; raises 404 for one the resource does not have."""
    name = call.info.subresource.split("/")[0]
    if name not in call.resource.subresources:
        raise no_such_resource()
    if name in ("exec", "attach", "portforward"):
        _need_node(call)
    handler = _HANDLERS.get(name)
    if handler is None:
        raise not_implemented(
            f"{call.resource.plural}/{name} is not supported by this embedded API server "
            "(it has logs and websocket port-forwarding; commands cannot be run inside its pods)"
        )
    return await handler(call, data)


def _need_node(call: Call) -> None:
    pod = call.store.get("pods", call.namespace, call.info.name)
    if not lookup(pod, "spec", "nodeName"):
        raise bad_request(f"pod {call.info.name} does not have a host assigned")


def _read(call: Call, data: bytes, resource: Resource) -> JsonObject:
    content_type = call.request.headers.get("Content-Type", "")
    mode = call.query.get("fieldValidation", "")
    obj, warnings = read_object(call.services.schemas, resource, data, content_type, mode)
    call.warnings.extend(warnings)
    return obj


async def _finalize(call: Call, data: bytes) -> web.StreamResponse:
    if call.info.verb != "update":
        raise method_not_allowed()
    return update_object(call, data)


async def _eviction(call: Call, data: bytes) -> web.StreamResponse:
    if call.info.verb != "create":
        raise method_not_allowed()
    body = _read(call, data, EVICTION)
    _same_name(call, body, "Eviction")
    pod = call.store.get("pods", call.namespace, call.info.name)
    if not pod["metadata"].get("deletionTimestamp"):
        for stored in call.store.peek_all("poddisruptionbudgets.policy", call.namespace):
            _check_budget(stored.obj, pod)
    options = body.get("deleteOptions") or {}
    call.store.delete(
        "pods",
        call.namespace,
        call.info.name,
        grace_period_seconds=options.get("gracePeriodSeconds"),
        preconditions=options.get("preconditions"),
        dry_run=call.dry_run or bool(options.get("dryRun")),
    )
    return _done(call)


def _check_budget(budget: JsonObject, pod: JsonObject) -> None:
    """Raise a 429 when a budget that covers the pod allows no disruption; a pod that is not ready costs none."""
    selector = lookup(budget, "spec", "selector")
    if selector is None or not labels_match(from_label_selector(selector), pod["metadata"].get("labels")):
        return
    status = budget.get("status") or {}
    if lookup(pod, "status", "phase") in ("Succeeded", "Failed", "Pending"):
        return
    ready = any(
        item.get("type") == "Ready" and item.get("status") == "True"
        for item in lookup(pod, "status", "conditions") or []
    )
    healthy, wanted = int(status.get("currentHealthy") or 0), int(status.get("desiredHealthy") or 0)
    always = lookup(budget, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow"
    if not ready and (always or (healthy >= wanted and wanted > 0)):
        return
    if int(status.get("disruptionsAllowed") or 0) < 1:
        name = budget["metadata"]["name"]
        why = f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
        raise ApiError(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
            details={"causes": [{"reason": "DisruptionBudget", "message": why}]},
        )


async def _binding(call: Call, data: bytes) -> web.StreamResponse:
    if call.info.verb != "create":
        raise method_not_allowed()
    body = _read(call, data, BINDING)
    _same_name(call, body, "Binding")
    kind, node = (lookup(body, "target", name) or "" for name in ("kind", "name"))
    # The real server answers as if it had failed itself.
    if kind not in ("", "Node"):
        supported = 'supported values: "Node", "<empty>"'
        raise ApiError(500, "", f'target.kind: Unsupported value: "{kind}": {supported}')
    if not node:
        raise ApiError(500, "", "target.name: Required value")
    call.store.bind(call.namespace, call.info.name, node, dry_run=call.dry_run)
    return _done(call)


def _same_name(call: Call, body: JsonObject, kind: str) -> None:
    name = lookup(body, "metadata", "name")
    if name and name != call.info.name:
        raise bad_request(f"name in URL does not match name in {kind} object")


def _done(call: Call) -> web.StreamResponse:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return value_response(call, status, status=201)


_TOKEN_SECONDS = range(600, 2**32 + 1)


async def _token(call: Call, data: bytes) -> web.StreamResponse:
    if call.info.verb != "create":
        raise method_not_allowed()
    account = call.store.get("serviceaccounts", call.namespace, call.info.name)
    body = _read(call, data, TOKEN_REQUEST)
    spec = body.get("spec") or {}
    seconds = int(spec.get("expirationSeconds") or 3600)
    if seconds not in _TOKEN_SECONDS:
        why = "may not specify a duration less than 10 minutes"
        if seconds > _TOKEN_SECONDS.start:
            why = "may not specify a duration larger than 2^32 seconds"
        cause = Cause("spec.expirationSeconds", f"Invalid value: {seconds}: {why}")
        raise invalid("authentication.k8s.io", "TokenRequest", "", [cause])
    if spec.get("boundObjectRef") is not None:
        raise bad_request("this server does not bind tokens to objects")
    audiences = spec.get("audiences") or [ISSUER]
    token = call.services.tokens.mint(
        call.namespace,
        call.info.name,
        uid=account["metadata"]["uid"],
        lifetime_seconds=seconds,
        audiences=audiences,
    )
    expires = format_time(call.store.now() + timedelta(seconds=seconds))
    answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": call.info.name, "namespace": call.namespace},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": None},
        "status": {"token": token, "expirationTimestamp": expires},
    }
    return value_response(call, answer, status=201)


def _whole(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise bad_request(f"{name}: Invalid value: {text!r}: must be a whole number")
    return int(text)


async def _log(call: Call, data: bytes) -> web.StreamResponse:
    del data
    pod = call.store.get("pods", call.namespace, call.info.name)
    provider = call.services.options.log_provider
    if provider is None:
        raise not_implemented("this API server was started without a provider of logs")
    containers = [item["name"] for item in lookup(pod, "spec", "containers") or []]
    initial = [item["name"] for item in lookup(pod, "spec", "initContainers") or []]
    container = call.query.get("container", "")
    if not container and len(containers) + len(initial) == 1:
        container = containers[0]
    if not container:
        listed = " ".join(containers)
        init = f" or one of the init containers: [{' '.join(initial)}]" if initial else ""
        raise bad_request(
            f"a container name must be specified for pod {call.info.name}, choose one of: [{listed}]{init}"
        )
    if container not in (*containers, *initial):
        raise bad_request(f"container {container} is not valid for pod {call.info.name}")
    if not lookup(pod, "spec", "nodeName"):
        return web.Response(status=204)
    request = LogRequest(
        namespace=call.namespace,
        pod=call.info.name,
        container=container,
        follow=flag(call.query, "follow"),
        previous=flag(call.query, "previous"),
        timestamps=flag(call.query, "timestamps"),
        tail_lines=_whole(call, "tailLines"),
        since_seconds=_whole(call, "sinceSeconds"),
        limit_bytes=_whole(call, "limitBytes"),
    )
    chunks = provider(request)
    first = await anext(chunks, b"")
    response = web.StreamResponse()
    response.headers["Content-Type"] = "text/plain"
    add_warnings(response, call.warnings)
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    if first:
        await response.write(first)
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


_HANDLERS: dict[str, Handler] = {
    "scale": scale,
    "finalize": _finalize,
    "eviction": _eviction,
    "binding": _binding,
    "token": _token,
    "log": _log,
    "portforward": port_forward,
}
