"""PATCH of objects, in any of the four patch formats."""

from __future__ import annotations

import json

from aiohttp import web

from localkube.apiserver.errors import ApiError, Cause, bad_request, conflict, invalid
from localkube.apiserver.http.body import decode_yaml, json_problem, json_value
from localkube.apiserver.http.call import Call
from localkube.apiserver.http.handlers_write import check_grant, ensure_identity, nameless, stored, warn
from localkube.apiserver.http.list_options import flag
from localkube.apiserver.http.request_info import RequestInfo
from localkube.apiserver.http.responses import in_version, object_response
from localkube.apiserver.http.routes import APPLY, JSON_PATCH, MERGE_PATCH
from localkube.apiserver.http.typed_body import conversion_problem, metadata_problem
from localkube.apiserver.http.write_options import media_type
from localkube.apiserver.jsonobj import Json, JsonObject, format_time
from localkube.apiserver.objects.metadata import drop_repeated_owners
from localkube.apiserver.patch.apply import server_side_apply
from localkube.apiserver.patch.json_patch import json_patch
from localkube.apiserver.patch.managed import Writer
from localkube.apiserver.patch.merge import merge_patch
from localkube.apiserver.patch.strategic import strategic_merge
from localkube.apiserver.patch.typed import check_typed, group_version_kind
from localkube.apiserver.resources import Resource
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.rendering import json_text, quoted


def patch_object(call: Call, data: bytes) -> web.Response:
    """PATCH of an object or its status."""
    if media_type(call) == APPLY:
        return _apply(call, data)
    key = call.resource.key
    current = in_version(call, call.store.get(key, call.namespace, call.info.name))
    patch, duplicates = decoded_patch(data)
    patched = patched_by(media_type(call), current, patch, call.services.schemas.node(call.resource))
    odd = _unknown_members(patch) if media_type(call) == JSON_PATCH else []
    _check_patched(call, patched, duplicates, odd)
    ensure_identity(call, patched)
    call.warnings.extend(drop_repeated_owners(patched))
    check_grant(call, patched)
    made = call.store.update(
        key,
        stored(call, patched),
        namespace=call.namespace,
        subresource=call.info.subresource,
        dry_run=call.dry_run,
        manager=call.manager,
        through=call.resource,
        warnings=call.warnings,
    )
    warn(call, made, current)
    return object_response(call, made)


def decoded_patch(data: bytes) -> tuple[Json, list[str]]:
    """Returns the patch in a body, and the keys that are there twice; raises 400."""
    try:
        return json_value(data)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"error decoding patch: {json_problem(data, error)}") from None


def patched_by(kind: str, current: JsonObject, patch: Json, node: Node) -> JsonObject:
    """Returns an object with a schema after a patch of a media type; raises 400 or 422."""
    if kind == JSON_PATCH:
        return json_patch(current, patch)
    if patch is None and kind == MERGE_PATCH:
        raise bad_request("Invalid JSON Patch")
    if not isinstance(patch, dict):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal it into Go value of type map[string]interface {}"
        )
    if kind == MERGE_PATCH:
        merged: JsonObject = merge_patch(current, patch)
        return merged
    return strategic_merge(node, current, patch)


def _unknown_members(operations: list[JsonObject]) -> list[str]:
    """Returns what operations of a JSON patch hold beside their members."""
    return [
        f'json patch unknown field "[{index}].{name}"'
        for index, operation in enumerate(operations)
        for name in operation
        if name not in ("op", "path", "from", "value")
    ]


def _check_patched(call: Call, patched: JsonObject, duplicates: list[str], odd: list[str]) -> None:
    """Raise a 422 unless a patched object can be read as one of the resource."""
    resource = call.resource
    kind, api_version = patched.get("kind") or "", patched.get("apiVersion") or ""
    typed = (kind, api_version) == (resource.kind, resource.api_version)
    if typed or (resource.custom and api_version == resource.api_version):
        error, problems = call.services.schemas.examine(resource, patched, duplicates)
    else:
        unknown = sorted(set(patched) - {"apiVersion", "kind", "metadata"})
        error, problems = "", [f'unknown field "{name}"' for name in unknown]
        if not resource.custom and kind and api_version:
            error = conversion_problem(resource, str(kind), str(api_version))
    problems = odd + problems
    error = error or metadata_problem(patched.get("metadata"))
    mode = call.query.get("fieldValidation", "")
    if problems and mode == "Strict":
        error = error or f"strict decoding error: {', '.join(problems)}"
    if error:
        raise unreadable(resource, patched, error)
    warnings = [] if mode == "Ignore" else problems
    if not typed:
        refused = _wrong_type(call, str(kind), str(api_version))
        refused.warnings = tuple(warnings)
        raise refused
    call.warnings.extend(warnings)


def _wrong_type(call: Call, kind: str, api_version: str) -> ApiError:
    resource = call.resource
    if not resource.custom:
        return nameless(call)
    field, given, wanted = (
        ("kind", kind, resource.kind) if kind != resource.kind else ("apiVersion", api_version, resource.api_version)
    )
    cause = Cause(field, f'Invalid value: "{given}": must be {wanted}')
    return invalid(resource.group, kind, call.info.name, [cause])


_METADATA_ORDER = (
    *("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers"),
    "managedFields",
)


def unreadable(resource: Resource, patched: JsonObject, why: str) -> ApiError:
    """Returns a 422 that shows the patched object, with the metadata of a built-in one in the order that objects have
    it."""
    text = json_text(patched)
    metadata = patched.get("metadata")
    if isinstance(metadata, dict) and not resource.custom:
        names = [*(name for name in _METADATA_ORDER if name in metadata), *sorted(set(metadata) - set(_METADATA_ORDER))]
        ordered = json.dumps({name: metadata[name] for name in names}, separators=(",", ":"), ensure_ascii=False)
        text = text.replace(json_text(metadata), ordered, 1)
    return invalid("", "", "", [Cause("patch", f"Invalid value: {quoted(text)}: {why}")])


# ---- server-side apply


def _apply(call: Call, data: bytes) -> web.Response:
    resource, store = call.resource, call.store
    wanted, repeated = decoded_configuration(data)
    check_configuration(wanted, resource.kind, resource.api_version)
    live = store.find(resource.key, call.namespace, call.info.name)
    if live is None and call.info.subresource:
        store.get(resource.key, call.namespace, call.info.name)
    check_typed(call.services.schemas.node(resource), wanted)
    merged = server_side_apply(
        call.services.schemas.node(resource),
        in_version(call, live) if live is not None else None,
        wanted,
        Writer.through(resource, call.info.subresource, call.manager, format_time(store.now())),
        force=flag(call.query, "force"),
    )
    check_repeated(call, repeated)
    if live is None:
        return _create_by_apply(call, merged)
    ensure_identity(call, merged)
    call.warnings.extend(drop_repeated_owners(merged))
    check_grant(call, merged)
    made = store.update(
        resource.key,
        stored(call, merged),
        namespace=call.namespace,
        subresource=call.info.subresource,
        dry_run=call.dry_run,
        through=call.resource,
        tracked=True,
        warnings=call.warnings,
    )
    warn(call, made, live)
    return object_response(call, made)


def check_configuration(wanted: JsonObject, kind: str, api_version: str) -> None:
    """Raise a 400 unless what is to be applied says that it is of a type; its metadata is put in place if it has none.

    It may say nothing about managers.
    """
    if (wanted.get("kind"), wanted.get("apiVersion")) != (kind, api_version):
        raise bad_request(f"invalid object type: {group_version_kind(wanted)}")
    if wanted.get("metadata") is None:
        wanted["metadata"] = {}
    if isinstance(wanted["metadata"], dict) and wanted["metadata"].get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")


def decoded_configuration(data: bytes) -> tuple[JsonObject, list[str]]:
    """Returns what is to be applied, and where keys stand in it twice; raises 400."""
    body = decode_yaml(data, "error decoding YAML: ")
    if body.value is None:
        return {}, []
    if not isinstance(body.value, dict):
        raise bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: "
            "json: cannot unmarshal it into Go value of type map[string]interface {}"
        )
    return body.value, body.repeated


def check_repeated(call: Call, repeated: list[str]) -> None:
    """Refuse keys that stand in a configuration twice with a 400, or warn of them, by ``fieldValidation``."""
    mode = call.query.get("fieldValidation", "")
    if repeated and mode == "Strict":
        listed = "\n  ".join(repeated)
        raise bad_request(
            f"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {listed}"
        )
    if mode != "Ignore":
        call.warnings.extend(repeated)


def _create_by_apply(call: Call, obj: JsonObject) -> web.Response:
    resource, info = call.resource, call.info
    create = RequestInfo("create", info.group, info.version, info.namespace, info.plural, info.name)
    call.services.authorizer.check(call.user, create)
    uid = obj["metadata"].get("uid")
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(resource.group, resource.plural, info.name, why)
    ensure_identity(call, obj)
    obj["metadata"].pop("resourceVersion", None)
    call.warnings.extend(drop_repeated_owners(obj))
    check_grant(call, obj)
    made = call.store.create(
        resource.key,
        stored(call, obj),
        namespace=call.namespace or None,
        dry_run=call.dry_run,
        through=call.resource,
        tracked=True,
        warnings=call.warnings,
    )
    warn(call, made, None)
    return object_response(call, made, status=201)
