"""Answers: objects, lists, Tables, metadata, Status, with the headers that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import yaml
from aiohttp import web

from rstore_devcluster.apiserver.describe.tables import partial_metadata, table
from rstore_devcluster.apiserver.http.errors import ApiError
from rstore_devcluster.apiserver.http.negotiation import Form, Representation, accepted
from rstore_devcluster.apiserver.jsonobj import JsonObject
from rstore_devcluster.apiserver.objects.resources import EVENTS_V1
from rstore_devcluster.apiserver.objects.services import Call
from rstore_devcluster.apiserver.storage.events import from_core
from rstore_devcluster.apiserver.storage.history import Stored

_encode = msgspec.json.Encoder().encode
_CONTENT_TYPE = "application/json"


def json_response(
    value: Any, *, status: int = 200, warnings: Sequence[str] = (), content_type: str = _CONTENT_TYPE
) -> web.Response:
    """A JSON answer."""
    response = web.Response(body=_encode(value), status=status)
    response.headers["Content-Type"] = content_type
    add_warnings(response, warnings)
    return response


def add_warnings(response: web.StreamResponse, warnings: Sequence[str]) -> None:
    """One ``Warning: 299`` header for each text."""
    for text in warnings:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.add("Warning", f'299 - "{escaped}"')


def error_response(error: ApiError) -> web.Response:
    """The Status of a failure."""
    response = json_response(error.to_status(), status=error.code, warnings=error.warnings)
    retry = error.details.get("retryAfterSeconds")
    if retry:
        response.headers["Retry-After"] = str(retry)
    if error.code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def representation(call: Call) -> Representation:
    """What the client accepts; raises a 406."""
    return accepted(call.request.headers.get("Accept", ""))


def in_version(call: Call, obj: JsonObject) -> JsonObject:
    """The object in the version the path asks for."""
    if call.resource is EVENTS_V1:
        return from_core(obj)
    if obj.get("apiVersion") == call.resource.api_version or "apiVersion" not in obj:
        return obj
    return {**obj, "apiVersion": call.resource.api_version}


def table_row(call: Call, obj: JsonObject) -> JsonObject:
    """The object a Table's row is made of; events are printed from their stored shape, whichever was asked for."""
    return obj if call.resource is EVENTS_V1 else in_version(call, obj)


def object_response(call: Call, obj: JsonObject, *, status: int = 200) -> web.Response:
    """One object, in the form the client accepts."""
    wanted = representation(call)
    shown = in_version(call, obj)
    if wanted.form is Form.TABLE:
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        value: JsonObject = table(
            call.resource,
            [table_row(call, obj)],
            call.store.now(),
            metadata=metadata,
            include=call.query.get("includeObject", "Metadata"),
        )
    elif wanted.form is Form.METADATA:
        value = partial_metadata(shown)
    else:
        value = shown
    if wanted.yaml:
        response = web.Response(text=yaml.safe_dump(value), status=status, content_type="application/yaml")
        add_warnings(response, call.warnings)
        return response
    return json_response(value, status=status, warnings=call.warnings)


def list_response(call: Call, items: Sequence[Stored], metadata: JsonObject) -> web.Response:
    """A list, in the form the client accepts."""
    wanted = representation(call)
    resource = call.resource
    if wanted.form is Form.TABLE:
        value = table(
            resource,
            [table_row(call, stored.obj) for stored in items],
            call.store.now(),
            metadata=metadata,
            include=call.query.get("includeObject", "Metadata"),
        )
        return json_response(value, warnings=call.warnings)
    if wanted.form is Form.METADATA:
        value = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": [partial_metadata(stored.obj) for stored in items],
        }
        return json_response(value, warnings=call.warnings)
    raw: list[Any] = [_raw(call, stored) for stored in items]
    value = {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": metadata,
        "items": raw,
    }
    return json_response(value, warnings=call.warnings)


def _raw(call: Call, stored: Stored) -> Any:
    shown = in_version(call, stored.obj)
    return msgspec.Raw(stored.encoded) if shown is stored.obj else shown


def success(call: Call, obj: JsonObject) -> JsonObject:
    """The Status of a deletion that is done."""
    metadata = obj["metadata"]
    details: JsonObject = {"name": metadata["name"], "kind": call.resource.plural, "uid": metadata["uid"]}
    if call.resource.group:
        details["group"] = call.resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
