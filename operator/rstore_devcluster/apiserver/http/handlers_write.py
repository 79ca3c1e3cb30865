"""POST, PUT, PATCH and DELETE of objects."""

from __future__ import annotations

from aiohttp import web

from rstore_devcluster.apiserver.http.body import Body, decode, decode_json, decode_yaml
from rstore_devcluster.apiserver.http.errors import ApiError, Cause, bad_request, invalid, unsupported_media_type
from rstore_devcluster.apiserver.http.list_options import flag, list_options
from rstore_devcluster.apiserver.http.request_info import RequestInfo
from rstore_devcluster.apiserver.http.responses import in_version, json_response, object_response, success
from rstore_devcluster.apiserver.http.routes import APPLY, JSON_PATCH, MERGE_PATCH, STRATEGIC
from rstore_devcluster.apiserver.http.typed_body import typed_object
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, format_time
from rstore_devcluster.apiserver.objects.resources import EVENTS_V1
from rstore_devcluster.apiserver.objects.selectors import compile_selector
from rstore_devcluster.apiserver.objects.services import Call
from rstore_devcluster.apiserver.patch.apply import server_side_apply
from rstore_devcluster.apiserver.patch.json_patch import json_patch
from rstore_devcluster.apiserver.patch.managed import Writer
from rstore_devcluster.apiserver.patch.merge import merge_patch
from rstore_devcluster.apiserver.patch.strategic import strategic_merge
from rstore_devcluster.apiserver.patch.typed import check_typed
from rstore_devcluster.apiserver.schema.definition.warnings import definition_warnings
from rstore_devcluster.apiserver.storage.events import to_core

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"


def check_dry_run(call: Call) -> None:
    """Raise a 422 for a value of dryRun other than All."""
    for value in call.request.query.getall("dryRun", []):
        if value != "All":
            message = f'Unsupported value: "{value}": supported values: "All"'
            raise invalid("meta.k8s.io", "WriteOptions", "", [Cause("dryRun", message, "FieldValueNotSupported")])


def _checked(call: Call, body: Body) -> JsonObject:
    obj = typed_object(call.resource, body)
    mode = call.query.get("fieldValidation", "")
    call.warnings.extend(call.services.schemas.check_body(call.resource, obj, body.duplicates, mode))
    return to_core(obj) if call.resource is EVENTS_V1 else obj


def _check_grant(call: Call, obj: JsonObject) -> None:
    if call.resource.group == "rbac.authorization.k8s.io":
        call.services.authorizer.check_escalation(call.user, call.resource.plural, obj, call.namespace)


def create_object(call: Call, data: bytes) -> web.Response:
    """POST of a collection."""
    obj = _checked(call, decode(data, call.request.headers.get("Content-Type", ""), call.resource.kind))
    _check_grant(call, obj)
    made = call.store.create(
        call.resource.key,
        _to_stored_version(call, obj),
        namespace=call.namespace or None,
        dry_run=call.dry_run,
        manager=call.manager,
        through=call.resource,
        warnings=call.warnings,
    )
    _warn(call, made)
    return object_response(call, made, status=201)


def _warn(call: Call, made: JsonObject) -> None:
    """Warn of what a new definition brings in."""
    if call.resource.key == DEFINITIONS:
        call.warnings.extend(definition_warnings(made, None))


def _to_stored_version(call: Call, obj: JsonObject) -> JsonObject:
    given = obj.get("apiVersion")
    if call.resource is EVENTS_V1:
        return obj
    if given and given != call.resource.api_version:
        raise bad_request(
            f"the API version in the data ({given}) does not match "
            f"the expected API version ({call.resource.api_version})"
        )
    return {**obj, "apiVersion": call.resource.stored_api_version}


def _check_name(call: Call, obj: JsonObject) -> None:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise bad_request("metadata: an object is needed")
    name = metadata.setdefault("name", call.info.name)
    if name != call.info.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({call.info.name})")
    space = metadata.get("namespace")
    if space and call.namespace and space != call.namespace:
        raise bad_request(
            f"the namespace of the object ({space}) does not match the namespace on the request ({call.namespace})"
        )


def update_object(call: Call, data: bytes) -> web.Response:
    """PUT of an object, its status, or a namespace's finalizers."""
    obj = _checked(call, decode(data, call.request.headers.get("Content-Type", ""), call.resource.kind))
    obj.setdefault("metadata", {})
    _check_name(call, obj)
    _check_grant(call, obj)
    made = call.store.update(
        call.resource.key,
        _to_stored_version(call, obj),
        namespace=call.namespace,
        subresource=call.info.subresource,
        dry_run=call.dry_run,
        manager=call.manager,
        through=call.resource,
        warnings=call.warnings,
    )
    return object_response(call, made)


def patch_object(call: Call, data: bytes) -> web.Response:
    """PATCH of an object or its status, in any of the four patch formats."""
    media_type = call.request.headers.get("Content-Type", "").split(";")[0].strip()
    if media_type == APPLY:
        return _apply(call, data)
    key = call.resource.key
    current = call.store.get(key, call.namespace, call.info.name)
    current = in_version(call, current)
    body = decode_json(data)
    patched = _patched(call, current, media_type, body.value)
    _check_name(call, patched)
    node_mode = call.query.get("fieldValidation", "")
    call.warnings.extend(call.services.schemas.check_body(call.resource, patched, body.duplicates, node_mode))
    _check_grant(call, patched)
    if not patched["metadata"].get("resourceVersion"):
        patched["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
    made = call.store.update(
        key,
        to_core(patched) if call.resource is EVENTS_V1 else _to_stored_version(call, patched),
        namespace=call.namespace,
        subresource=call.info.subresource,
        dry_run=call.dry_run,
        manager=call.manager,
        through=call.resource,
        warnings=call.warnings,
    )
    return object_response(call, made)


def _patched(call: Call, current: JsonObject, media_type: str, patch: Json) -> JsonObject:
    if media_type == JSON_PATCH:
        return json_patch(current, patch)
    if not isinstance(patch, dict):
        raise bad_request("the patch must be an object")
    if media_type == MERGE_PATCH:
        merged: JsonObject = merge_patch(current, patch)
        return merged
    if media_type == STRATEGIC and not call.resource.custom:
        return strategic_merge(call.services.schemas.node(call.resource), current, patch)
    supported = (
        [JSON_PATCH, MERGE_PATCH, APPLY] if call.resource.custom else [JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY]
    )
    raise unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: " + ", ".join(supported)
    )


def _apply(call: Call, data: bytes) -> web.Response:
    if not call.query.get("fieldManager"):
        cause = Cause("fieldManager", "Required value: is required for apply patch", "FieldValueRequired")
        raise invalid("meta.k8s.io", "PatchOptions", "", [cause])
    if call.resource is EVENTS_V1:
        raise unsupported_media_type("server-side apply of Events is supported in core/v1 only")
    wanted = decode_yaml(data).as_object()
    resource, store = call.resource, call.store
    if wanted.get("kind") != resource.kind or wanted.get("apiVersion") != resource.api_version:
        raise bad_request(
            f"the applied object must have apiVersion {resource.api_version} and kind {resource.kind}, "
            f"got {wanted.get('apiVersion')}, {wanted.get('kind')}"
        )
    wanted.setdefault("metadata", {})
    _check_name(call, wanted)
    mode = call.query.get("fieldValidation", "")
    call.warnings.extend(call.services.schemas.check_body(resource, wanted, [], mode))
    check_typed(call.services.schemas.node(resource), wanted)
    live = store.find(resource.key, call.namespace, call.info.name)
    if live is None and call.info.subresource:
        store.get(resource.key, call.namespace, call.info.name)
    given = wanted["metadata"].get("resourceVersion")
    if live is not None:
        live["apiVersion"] = resource.api_version
    elif given:
        raise ApiError(409, "Conflict", "resourceVersion must not be set for an object that does not exist")
    merged = server_side_apply(
        call.services.schemas.node(resource),
        live,
        wanted,
        Writer.through(resource, call.info.subresource, call.manager, format_time(store.now())),
        force=flag(call.query, "force"),
    )
    if live is None:
        return _create_by_apply(call, merged)
    _check_grant(call, merged)
    merged["metadata"]["resourceVersion"] = given or live["metadata"]["resourceVersion"]
    made = store.update(
        resource.key,
        _to_stored_version(call, merged),
        namespace=call.namespace,
        subresource=call.info.subresource,
        dry_run=call.dry_run,
        tracked=True,
        warnings=call.warnings,
    )
    return object_response(call, made)


def _create_by_apply(call: Call, obj: JsonObject) -> web.Response:
    info = call.info
    create = RequestInfo("create", info.group, info.version, info.namespace, info.plural, info.name)
    call.services.authorizer.check(call.user, create)
    if obj["metadata"].pop("uid", None):
        raise ApiError(409, "Conflict", "uid must not be set for an object that does not exist")
    _check_grant(call, obj)
    made = call.store.create(
        call.resource.key,
        _to_stored_version(call, obj),
        namespace=call.namespace or None,
        dry_run=call.dry_run,
        tracked=True,
        warnings=call.warnings,
    )
    _warn(call, made)
    return object_response(call, made, status=201)


def _delete_options(call: Call, data: bytes) -> JsonObject:
    options = decode(data, call.request.headers.get("Content-Type", "")).as_object() if data.strip() else {}
    if "gracePeriodSeconds" in call.query:
        try:
            options["gracePeriodSeconds"] = int(call.query["gracePeriodSeconds"])
        except ValueError:
            raise bad_request("gracePeriodSeconds must be a whole number") from None
    if "propagationPolicy" in call.query:
        options["propagationPolicy"] = call.query["propagationPolicy"]
    if "orphanDependents" in options:
        orphan = options.pop("orphanDependents")
        options.setdefault("propagationPolicy", "Orphan" if orphan else "Background")
    return options


def _delete(call: Call, options: JsonObject, namespace: str, name: str) -> tuple[JsonObject, bool]:
    return call.store.delete(
        call.resource.key,
        namespace,
        name,
        grace_period_seconds=options.get("gracePeriodSeconds"),
        propagation_policy=options.get("propagationPolicy") or "",
        preconditions=options.get("preconditions"),
        dry_run=call.dry_run or bool(options.get("dryRun")),
    )


def delete_object(call: Call, data: bytes) -> web.Response:
    """DELETE of an object: its last state, or a Status when it is gone."""
    obj, gone = _delete(call, _delete_options(call, data), call.namespace, call.info.name)
    if gone and call.resource.key != "pods":
        return json_response(success(call, obj), warnings=call.warnings)
    return object_response(call, obj)


def delete_collection(call: Call, data: bytes) -> web.Response:
    """DELETE of a collection, by selectors."""
    options = _delete_options(call, data)
    resource = call.resource
    selection = list_options(call.query, watch=False)
    matcher = compile_selector(selection.label_selector, selection.field_selector, resource)
    found = [
        stored for stored in call.store.peek_all(resource.key, call.namespace) if matcher is None or matcher(stored.obj)
    ]
    deleted = [_delete(call, options, stored.namespace, stored.name)[0] for stored in found]
    metadata = {"resourceVersion": str(call.store.resource_version)}
    body = {"kind": resource.kind_of_lists, "apiVersion": resource.api_version, "metadata": metadata, "items": deleted}
    return json_response(body, warnings=call.warnings)
