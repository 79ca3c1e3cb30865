"""POST, PUT and DELETE of objects."""

from __future__ import annotations

from aiohttp import web

from localkube.apiserver.errors import ApiError, bad_request, conflict
from localkube.apiserver.http.body import Body, decode
from localkube.apiserver.http.call import Call
from localkube.apiserver.http.list_options import list_options
from localkube.apiserver.http.request_info import RequestInfo
from localkube.apiserver.http.responses import list_response, object_response, success, value_response
from localkube.apiserver.http.typed_body import typed_object
from localkube.apiserver.http.write_options import delete_options
from localkube.apiserver.jsonobj import JsonObject, metadata_of
from localkube.apiserver.objects.metadata import drop_repeated_owners, metadata_warnings
from localkube.apiserver.objects.selectors import compile_selector


def _checked(call: Call, body: Body) -> JsonObject:
    obj = typed_object(call.resource, body)
    mode = call.query.get("fieldValidation", "")
    call.warnings.extend(call.services.schemas.check_body(call.resource, obj, body.duplicates, mode))
    call.warnings.extend(drop_repeated_owners(obj))
    return obj


def check_grant(call: Call, obj: JsonObject) -> None:
    """Raise a 403 for roles and bindings that give more rights than the user has."""
    if call.resource.group == "rbac.authorization.k8s.io":
        old = call.store.peek(call.resource.key, call.namespace, call.info.name) if call.info.name else None
        call.services.authorizer.check_escalation(
            call.user, call.resource.plural, obj, call.namespace, None if old is None else old.obj
        )


def create_object(call: Call, data: bytes) -> web.Response:
    """POST of a collection."""
    obj = _checked(call, decode(data, call.request.headers.get("Content-Type", ""), call.resource.kind))
    return _created(call, obj)


def _created(call: Call, obj: JsonObject) -> web.Response:
    check_grant(call, obj)
    made = call.store.create(
        call.resource.key,
        stored(call, obj),
        namespace=call.namespace or None,
        dry_run=call.dry_run,
        manager=call.manager,
        through=call.resource,
        warnings=call.warnings,
    )
    warn(call, made, None)
    return object_response(call, made, status=201)


def warn(call: Call, made: JsonObject, before: JsonObject | None) -> None:
    """Warn of what a write brings in that is better avoided."""
    call.warnings.extend(metadata_warnings(call.resource, made, before))


def stored(call: Call, obj: JsonObject) -> JsonObject:
    """Returns an object that was sent, as the store has it."""
    return {**obj, "apiVersion": call.resource.stored_api_version}


def nameless(call: Call) -> ApiError:
    """Returns the 400 for an object without a name."""
    return bad_request(
        f"the name of the object ({call.info.name} based on URL) was undeterminable: name must be provided"
    )


def ensure_identity(call: Call, obj: JsonObject) -> None:
    """Raise a 400 unless the object has the name and the namespace of the path; the namespace may be left out."""
    metadata = metadata_of(obj)
    space = metadata.get("namespace")
    if not call.namespace:
        metadata.pop("namespace", None)
    elif space and space != call.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    name, wanted = metadata.get("name"), call.info.name
    if not name:
        raise nameless(call)
    if name != wanted:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({wanted})")


def update_object(call: Call, data: bytes) -> web.Response:
    """PUT of an object, its status, or a namespace's finalizers; some kinds are created by it."""
    obj = _checked(call, decode(data, call.request.headers.get("Content-Type", ""), call.resource.kind))
    ensure_identity(call, obj)
    info, resource = call.info, call.resource
    before = call.store.find(resource.key, call.namespace, info.name)
    if before is None and resource.create_by_update and not info.subresource:
        create = RequestInfo("create", info.group, info.version, info.namespace, info.plural, info.name)
        call.services.authorizer.check(call.user, create)
        check_uid(call, obj["metadata"].get("uid"), "")
        obj["metadata"].pop("resourceVersion", None)
        return _created(call, obj)
    if before is not None:
        check_uid(call, obj["metadata"].get("uid"), before["metadata"]["uid"])
    check_grant(call, obj)
    made = call.store.update(
        resource.key,
        stored(call, obj),
        namespace=call.namespace,
        subresource=info.subresource,
        dry_run=call.dry_run,
        manager=call.manager,
        through=resource,
        warnings=call.warnings,
    )
    warn(call, made, before)
    return object_response(call, made)


def check_uid(call: Call, given: str | None, uid: str) -> None:
    """Raise a 409 when an update names another uid than that of the object, "" where there is none."""
    if not given or given == uid:
        return
    resource = call.resource
    place = [resource.group if resource.custom else "", resource.plural, call.namespace, call.info.name]
    key = "/".join(["/registry", *(step for step in place if step)])
    why = (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {given}, UID in object meta: {uid}"
    )
    raise conflict(resource.group, resource.plural, call.info.name, why)


def _delete(call: Call, options: JsonObject, namespace: str, name: str) -> tuple[JsonObject, bool]:
    return call.store.delete(
        call.resource.key,
        namespace,
        name,
        grace_period_seconds=options.get("gracePeriodSeconds"),
        propagation_policy=options.get("propagationPolicy") or "",
        preconditions=options.get("preconditions"),
        dry_run=bool(options.get("dryRun")),
    )


_ANSWER_WITH_OBJECT = frozenset(
    {"pods", "services", "serviceaccounts", "persistentvolumeclaims", "persistentvolumes"}
    | {"storageclasses.storage.k8s.io"}
)


def delete_object(call: Call, data: bytes) -> web.Response:
    """DELETE of an object: its last state, or for most kinds a Status when it is gone."""
    obj, gone = _delete(call, delete_options(call, data), call.namespace, call.info.name)
    if gone and call.resource.key not in _ANSWER_WITH_OBJECT:
        return value_response(call, success(call, obj))
    return object_response(call, obj)


def delete_collection(call: Call, data: bytes) -> web.Response:
    """DELETE of a collection, by selectors; the answer lists the objects as they were before."""
    options = delete_options(call, data)
    resource = call.resource
    selection = list_options(call.query, watch=False)
    matcher = compile_selector(selection.label_selector, selection.field_selector, resource)
    items = [
        stored for stored in call.store.peek_all(resource.key, call.namespace) if matcher is None or matcher(stored.obj)
    ]
    metadata = {"resourceVersion": str(call.store.resource_version)}
    for item in items:
        _delete(call, options, item.namespace, item.name)
    return list_response(call, items, metadata)
