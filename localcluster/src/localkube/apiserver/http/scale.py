"""The scale subresource: the replicas of an object as a Scale."""

from __future__ import annotations

from aiohttp import web

from localkube.apiserver.errors import ApiError, Cause, bad_request, invalid, method_not_allowed, unsupported_media_type
from localkube.apiserver.http.body import decode
from localkube.apiserver.http.call import Call
from localkube.apiserver.http.handlers_patch import decoded_patch, patched_by, unreadable
from localkube.apiserver.http.handlers_write import check_uid, ensure_identity
from localkube.apiserver.http.responses import value_response
from localkube.apiserver.http.routes import APPLY
from localkube.apiserver.http.write_options import media_type
from localkube.apiserver.jsonobj import Json, JsonObject, lookup, metadata_of, without_nulls
from localkube.apiserver.kinds.custom import value_at
from localkube.apiserver.schema.structural import structure_causes

_API_VERSION = "autoscaling/v1"


async def scale(call: Call, data: bytes) -> web.StreamResponse:
    """GET, PUT or PATCH of an object's scale."""
    obj = call.store.get(call.resource.key, call.namespace, call.info.name)
    if call.info.verb == "get":
        return value_response(call, _scale_of(call, obj))
    shown = _scale_of(call, obj, unset=0)
    match call.info.verb:
        case "update":
            wanted = decode(data, call.request.headers.get("Content-Type", ""), "Scale").as_object("Scale")
        case "patch" if media_type(call) == APPLY:
            raise unsupported_media_type("this server does not apply configurations to the scale subresource")
        case "patch":
            wanted = patched_by(media_type(call), shown, decoded_patch(data)[0], call.services.schemas.model("V1Scale"))
        case _:
            raise method_not_allowed()
    _check(call, wanted)
    ensure_identity(call, wanted)
    check_uid(call, metadata_of(wanted).get("uid"), obj["metadata"]["uid"])
    obj["metadata"]["resourceVersion"] = (
        metadata_of(wanted).get("resourceVersion") or shown["metadata"]["resourceVersion"]
    )
    *parents, last = call.resource.scale_paths[0].removeprefix(".").split(".")
    target = obj
    for step in parents:
        target = target.setdefault(step, {})
    target[last] = lookup(wanted, "spec", "replicas") or 0
    made = call.store.update(
        call.resource.key,
        obj,
        namespace=call.namespace,
        subresource="scale",
        dry_run=call.dry_run,
        manager=call.manager,
        through=call.resource,
        warnings=call.warnings,
    )
    return value_response(call, _scale_of(call, made))


def _check(call: Call, wanted: JsonObject) -> None:
    """Raise a 400, after a patch a 422, unless it is a Scale; a 422 for fewer than no replicas of a built-in kind."""
    kind, api_version = wanted.get("kind") or "Scale", wanted.get("apiVersion") or _API_VERSION
    problem = _decoding_problem(call, str(kind), str(api_version), wanted)
    if problem and call.info.verb == "patch":
        raise unreadable(call.resource, wanted, problem)
    if problem:
        version = str(api_version).rpartition("/")[2]
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a Scale: {problem}')
    replicas = lookup(wanted, "spec", "replicas") or 0
    if replicas < 0 and not call.resource.custom:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid("autoscaling", "Scale", call.info.name, [Cause("spec.replicas", message)])


def _decoding_problem(call: Call, kind: str, api_version: str, wanted: JsonObject) -> str:
    """Returns why it cannot be read as a Scale, "" where it can be."""
    if (kind, api_version) != ("Scale", _API_VERSION):
        return f'no kind "{kind}" is registered for version "{api_version}" in scheme "scales"'
    wrong = structure_causes(call.services.schemas.model("V1Scale"), without_nulls(wanted))
    if wrong:
        return f"json: {wrong[0].message}"
    replicas = lookup(wanted, "spec", "replicas") or 0
    if not -(2**31) <= replicas < 2**31:
        return f"json: cannot unmarshal number {replicas} into Go struct field ScaleSpec.spec.replicas of type int32"
    return ""


def _scale_of(call: Call, obj: JsonObject, *, unset: int | None = None) -> JsonObject:
    """Returns the Scale of an object; a custom resource whose spec says no replicas has none, but where ``unset`` is
    given."""
    spec_path, status_path, selector_path = call.resource.scale_paths
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = _value_at(obj, spec_path, "integer")
    if replicas is None:
        replicas = 0 if not call.resource.custom else unset
    if replicas is None:
        raise _internal(f'the spec replicas field "{spec_path}" does not exist')
    status: JsonObject = {"replicas": _value_at(obj, status_path, "integer") or 0}
    if not call.resource.custom:
        labels = lookup(obj, "spec", "selector", "matchLabels") or {}
        status["selector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    elif selector_path and (selector := _value_at(obj, selector_path, "string")):
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": _API_VERSION,
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _value_at(obj: JsonObject, path: str, kind: str) -> Json:
    value, problem = value_at(obj, path, kind)
    if problem is not None:
        raise _internal(problem)
    return value


def _internal(why: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {why}", details={"causes": [{"message": why}]})
