"""Subresources other than status: scale, finalize, eviction, binding, token, log, and those that are refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from aiohttp import web

from rstore_devcluster.apiserver.http.body import decode, decode_json
from rstore_devcluster.apiserver.http.errors import (
    ApiError,
    Cause,
    bad_request,
    invalid,
    method_not_allowed,
    no_such_resource,
    not_implemented,
)
from rstore_devcluster.apiserver.http.handlers_write import update_object
from rstore_devcluster.apiserver.http.list_options import flag
from rstore_devcluster.apiserver.http.options import LogRequest
from rstore_devcluster.apiserver.http.portforward import port_forward
from rstore_devcluster.apiserver.http.responses import add_warnings, json_response
from rstore_devcluster.apiserver.http.routes import JSON_PATCH
from rstore_devcluster.apiserver.jsonobj import JsonObject, format_time, lookup
from rstore_devcluster.apiserver.objects.selectors import from_label_selector, labels_match
from rstore_devcluster.apiserver.objects.services import Call
from rstore_devcluster.apiserver.patch.json_patch import json_patch
from rstore_devcluster.apiserver.patch.merge import merge_patch

Handler = Callable[[Call, bytes], Awaitable[web.StreamResponse]]


async def handle(call: Call, data: bytes) -> web.StreamResponse:
    """Serve a subresource; raises 404 for one the resource does not have."""
    name = call.info.subresource.split("/")[0]
    if name not in call.resource.subresources:
        raise no_such_resource()
    handler = _HANDLERS.get(name)
    if handler is None:
        raise not_implemented(
            f"{call.resource.plural}/{name} is not supported by this embedded API server "
            "(it has logs and websocket port-forwarding; commands cannot be run inside its pods)"
        )
    return await handler(call, data)


def _lists_at(path: str) -> list[str]:
    return [step for step in path.split(".") if step]


async def _scale(call: Call, data: bytes) -> web.StreamResponse:
    obj = call.store.get(call.resource.key, call.namespace, call.info.name)
    shown = _scale_of(call, obj)
    if call.info.verb == "get":
        return json_response(shown)
    if call.info.verb == "update":
        wanted = decode(data, call.request.headers.get("Content-Type", "")).as_object()
    elif call.info.verb == "patch":
        patch = decode_json(data).value
        by_json_patch = call.request.headers.get("Content-Type", "").startswith(JSON_PATCH)
        wanted = json_patch(shown, patch) if by_json_patch else merge_patch(shown, patch)
    else:
        raise method_not_allowed()
    replicas = lookup(wanted, "spec", "replicas", default=0)
    if not isinstance(replicas, int) or replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid("autoscaling", "Scale", call.info.name, [Cause("spec.replicas", message)])
    version = lookup(wanted, "metadata", "resourceVersion")
    if version:
        obj["metadata"]["resourceVersion"] = version
    *parents, last = _lists_at(call.resource.scale_paths[0])
    target = obj
    for step in parents:
        target = target.setdefault(step, {})
    target[last] = replicas
    made = call.store.update(
        call.resource.key,
        obj,
        namespace=call.namespace,
        subresource="scale",
        dry_run=call.dry_run,
        manager=call.manager,
        through=call.resource,
    )
    return json_response(_scale_of(call, made))


def _scale_of(call: Call, obj: JsonObject) -> JsonObject:
    spec_path, status_path, selector_path = call.resource.scale_paths
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: JsonObject = {"replicas": lookup(obj, *_lists_at(status_path), default=0)}
    replicas = lookup(obj, *_lists_at(spec_path), default=0)
    if selector_path:
        status["selector"] = lookup(obj, *_lists_at(selector_path), default="")
    elif not call.resource.custom:
        labels = lookup(obj, "spec", "selector", "matchLabels") or {}
        status["selector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


async def _finalize(call: Call, data: bytes) -> web.StreamResponse:
    if call.info.verb != "update":
        raise method_not_allowed()
    return update_object(call, data)


async def _eviction(call: Call, data: bytes) -> web.StreamResponse:
    if call.info.verb != "create":
        raise method_not_allowed()
    body = decode(data, call.request.headers.get("Content-Type", "")).as_object()
    pod = call.store.get("pods", call.namespace, call.info.name)
    for stored in call.store.peek_all("poddisruptionbudgets.policy", call.namespace):
        selector = from_label_selector(lookup(stored.obj, "spec", "selector"))
        if not selector or not labels_match(selector, pod["metadata"].get("labels")):
            continue
        if int(lookup(stored.obj, "status", "disruptionsAllowed", default=0)) < 1:
            raise ApiError(
                429,
                "TooManyRequests",
                "Cannot evict pod as it would violate the pod's disruption budget.",
                details={"retryAfterSeconds": 10},
            )
    options = body.get("deleteOptions") or {}
    call.store.delete(
        "pods",
        call.namespace,
        call.info.name,
        grace_period_seconds=options.get("gracePeriodSeconds"),
        preconditions=options.get("preconditions"),
        dry_run=call.dry_run,
    )
    return json_response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, status=201)


async def _binding(call: Call, data: bytes) -> web.StreamResponse:
    if call.info.verb != "create":
        raise method_not_allowed()
    body = decode(data, call.request.headers.get("Content-Type", "")).as_object()
    node = lookup(body, "target", "name")
    pod = call.store.get("pods", call.namespace, call.info.name)
    if not node:
        raise bad_request("target.name: Required value")
    if lookup(pod, "spec", "nodeName"):
        assigned = pod["spec"]["nodeName"]
        why = f"pod {call.info.name} is already assigned to node {assigned!r}"
        raise ApiError(409, "Conflict", f'Operation cannot be fulfilled on pods/binding "{call.info.name}": {why}')
    pod["spec"]["nodeName"] = node
    call.store.update("pods", pod, namespace=call.namespace, manager=call.manager, dry_run=call.dry_run)
    return json_response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, status=201)


async def _token(call: Call, data: bytes) -> web.StreamResponse:
    if call.info.verb != "create":
        raise method_not_allowed()
    account = call.store.get("serviceaccounts", call.namespace, call.info.name)
    body = decode(data, call.request.headers.get("Content-Type", "")).as_object()
    seconds = int(lookup(body, "spec", "expirationSeconds") or 3600)
    if seconds < 600:
        cause = Cause(
            "spec.expirationSeconds", f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
        )
        raise invalid("authentication.k8s.io", "TokenRequest", "", [cause])
    audiences = lookup(body, "spec", "audiences") or []
    token = call.services.tokens.mint(
        call.namespace,
        call.info.name,
        uid=account["metadata"]["uid"],
        lifetime_seconds=seconds,
        audience=audiences[0] if audiences else "",
    )
    expires = format_time(call.store.now() + timedelta(seconds=seconds))
    answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": call.info.name, "namespace": call.namespace},
        "spec": {**(body.get("spec") or {}), "expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": expires},
    }
    return json_response(answer, status=201)


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
    "scale": _scale,
    "finalize": _finalize,
    "eviction": _eviction,
    "binding": _binding,
    "token": _token,
    "log": _log,
    "portforward": port_forward,
}
