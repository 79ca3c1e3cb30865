"""The scale subresource: the replicas of an object as a Scale."""

from __future__ import annotations

from aiohttp import web

from localkube.apiserver.errors import ApiError, Cause, bad_request, invalid, method_not_allowed
from localkube.apiserver.http.body import decode
from localkube.apiserver.http.call import Call
from localkube.apiserver.http.handlers_patch import (
    check_configuration,
    check_repeated,
    decoded_configuration,
    decoded_patch,
    patched_by,
    unreadable,
)
from localkube.apiserver.http.handlers_write import check_uid, ensure_identity
from localkube.apiserver.http.list_options import flag
from localkube.apiserver.http.responses import value_response
from localkube.apiserver.http.routes import APPLY
from localkube.apiserver.http.write_options import media_type
from localkube.apiserver.jsonobj import Json, JsonObject, format_time, lookup, metadata_of, without_nulls
from localkube.apiserver.kinds.custom import value_at
from localkube.apiserver.patch.apply import server_side_apply
from localkube.apiserver.patch.managed import Writer, read_entries, write_entries
from localkube.apiserver.patch.scaled import entries_of_object, entries_of_scale, replicas_field
from localkube.apiserver.patch.typed import check_typed
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
            wanted = _applied(call, obj, shown, data)
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
        tracked=call.info.verb == "patch" and media_type(call) == APPLY,
        warnings=call.warnings,
    )
    return value_response(call, _scale_of(call, made))


def _applied(call: Call, obj: JsonObject, shown: JsonObject, data: bytes) -> JsonObject:
    """The Scale after server-side apply; who manages the replicas is changed in the object. Raises 400, 409 or 500."""
    configuration, repeated = decoded_configuration(data)
    check_configuration(configuration, "Scale", _API_VERSION)
    node = call.services.schemas.model("V1Scale")
    check_typed(node, configuration)
    replicas = replicas_field(call.resource.scale_paths[0])
    entries = read_entries(obj["metadata"].get("managedFields"))
    live = {**shown, "metadata": dict(shown["metadata"])}
    write_entries(live, entries_of_scale(entries, replicas))
    writer = Writer.through(call.resource, "scale", call.manager, format_time(call.store.now()))
    merged = server_side_apply(node, live, configuration, writer, force=flag(call.query, "force"))
    check_repeated(call, repeated)
    after = read_entries(merged["metadata"].pop("managedFields", None))
    write_entries(obj, entries_of_object(entries, after, replicas))
    return merged


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
    """The Scale of an object; a custom resource whose spec says no replicas has none, but where ``unset`` is given."""
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
