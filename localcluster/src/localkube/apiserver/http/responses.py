"""Answers: objects, lists, Tables, metadata, Status, with the headers that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from localkube.apiserver.describe.tables import partial_metadata, table
from localkube.apiserver.errors import (
    ApiError,
    PageNotFoundError,
    bad_request,
    not_acceptable,
)
from localkube.apiserver.http.call import Call
from localkube.apiserver.http.encoding import COMPRESSED_FROM_BYTES, compressed, encoded
from localkube.apiserver.http.negotiation import (
    Form,
    Representation,
    accepted,
    accepted_for_errors,
    accepted_stream,
)
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.resources import Resource
from localkube.apiserver.storage.history import Stored

_encode = msgspec.json.Encoder().encode


def encoded_response(request: web.Request, value: Any, media_type: str, *, status: int = 200) -> web.Response:
    """Returns an answer in a media type, spaced for people where they want it."""
    response = web.Response(body=encoded(value, media_type, pretty=wants_pretty(request)), status=status)
    response.headers["Content-Type"] = media_type
    return response


def _answer(call: Call, value: Any, wanted: Representation, *, status: int = 200) -> web.Response:
    response = encoded_response(call.request, value, wanted.media_type, status=status)
    add_warnings(response, call.warnings)
    return response


def compress(response: web.Response, accept_encoding: str) -> None:
    """Compress a large answer where the client reads gzip."""
    body = response.body
    if "gzip" in accept_encoding and isinstance(body, bytes) and len(body) > COMPRESSED_FROM_BYTES:
        response.body = compressed(body)
        response.headers["Content-Encoding"] = "gzip"
        response.headers.add("Vary", "Accept-Encoding")


def value_response(call: Call, value: JsonObject, *, status: int = 200) -> web.Response:
    """Returns an answer that is neither the object nor a list of the resource, and is never shown as a Table."""
    return plain_response(call.request, value, status=status, warnings=call.warnings)


def plain_response(request: web.Request, value: JsonObject, *, status: int, warnings: Sequence[str]) -> web.Response:
    """Returns the same for a request that is on no stored resource."""
    media_type = accepted_for_errors(request.headers.get("Accept", "")).media_type
    response = encoded_response(request, value, media_type, status=status)
    add_warnings(response, warnings)
    return response


def wants_pretty(request: web.Request) -> bool:
    """Returns whether JSON is to be spaced for people: they asked for it, or they use curl, wget or a browser."""
    asked = request.query.get("pretty")
    if asked:
        return asked.lower() in ("1", "t", "true")
    return request.headers.get("User-Agent", "").startswith(("curl", "Wget", "Mozilla/5.0"))


def add_warnings(response: web.StreamResponse, warnings: Sequence[str]) -> None:
    """One ``Warning: 299`` header for each text."""
    for text in warnings:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.add("Warning", f'299 - "{escaped}"')


def error_response(error: ApiError, request: web.Request) -> web.Response:
    """Returns the answer to a request that failed: a Status, or plain text where no resource is served."""
    if isinstance(error, PageNotFoundError):
        response = web.Response(text=f"{error.message}\n", status=error.code)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
    media_type = accepted_for_errors(request.headers.get("Accept", "")).media_type
    response = encoded_response(request, error.to_status(), media_type, status=error.code)
    add_warnings(response, error.warnings)
    retry = (error.details or {}).get("retryAfterSeconds")
    if retry:
        response.headers["Retry-After"] = str(retry)
    return response


def representation(call: Call) -> Representation:
    """Returns what the client accepts; raises a 406."""
    header = call.request.headers.get("Accept", "")
    return accepted_stream(header) if call.info.verb == "watch" else accepted(header)


def in_version(call: Call, obj: JsonObject) -> JsonObject:
    """Returns the object in the version the path asks for."""
    if obj.get("apiVersion") == call.resource.api_version or "apiVersion" not in obj:
        return obj
    return {**obj, "apiVersion": call.resource.api_version}


def object_response(call: Call, obj: JsonObject, *, status: int = 200) -> web.Response:
    """Returns one object, in the form the client accepts."""
    wanted = representation(call)
    shown = in_version(call, obj)
    match wanted.form:
        case Form.TABLE:
            value: Any = table(
                call.resource,
                [in_version(call, obj)],
                call.store.now(),
                metadata={"resourceVersion": obj["metadata"].get("resourceVersion", "")},
                include=included(call),
                api_version=wanted.api_version,
            )
        case Form.METADATA:
            value = partial_metadata(shown, wanted.api_version)
        case Form.METADATA_LIST:
            raise ApiError(500, "", "content is not a list")
        case Form.OBJECT:
            value = shown
    return _answer(call, value, wanted, status=status)


def list_response(call: Call, items: Sequence[Stored], metadata: JsonObject) -> web.Response:
    """Returns a list, in the form the client accepts."""
    wanted = representation(call)
    resource = call.resource
    if resource.custom and wanted.form is Form.OBJECT:
        metadata.setdefault("continue", "")
    match wanted.form:
        case Form.TABLE:
            value: Any = table(
                resource,
                [in_version(call, stored.obj) for stored in items],
                call.store.now(),
                metadata=metadata,
                include=included(call),
                api_version=wanted.api_version,
            )
        case Form.METADATA:
            shown = "*unstructured.UnstructuredList" if resource.custom else f"*{go_name(resource)}List"
            raise not_acceptable(f"you requested PartialObjectMetadata, but the requested object is a list ({shown})")
        case Form.METADATA_LIST:
            value = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": wanted.api_version,
                "metadata": metadata,
                "items": [partial_metadata(stored.obj, wanted.api_version) for stored in items],
            }
        case Form.OBJECT:
            value = {
                "kind": resource.kind_of_lists,
                "apiVersion": resource.api_version,
                "metadata": metadata,
                "items": [_item(call, stored) for stored in items],
            }
    return _answer(call, value, wanted)


def included(call: Call) -> str:
    """Returns how much of each object a Table's rows hold; raises a 400."""
    asked = call.query.get("includeObject", "")
    if asked not in ("", "Metadata", "Object", "None"):
        why = f"includeObject: Invalid value: \"{asked}\": must be 'Metadata', 'Object', 'None', or empty"
        raise bad_request(f"Unable to convert to Table as requested: {why}")
    return asked or "Metadata"


def go_name(resource: Resource) -> str:
    """Returns what a built-in kind is called inside a real API server, such as ``core.ConfigMap``; messages show it."""
    return f"{resource.group.split('.')[0] or 'core'}.{resource.kind}"


def _item(call: Call, stored: Stored) -> Any:
    """Returns an object in a list; those of built-in kinds leave out apiVersion and kind, which the list has."""
    shown = in_version(call, stored.obj)
    if not call.resource.custom:
        return {name: value for name, value in shown.items() if name not in ("apiVersion", "kind")}
    return msgspec.Raw(stored.encoded) if shown is stored.obj else shown


def success(call: Call, obj: JsonObject) -> JsonObject:
    """Returns the Status of a deletion that is done."""
    metadata = obj["metadata"]
    details: JsonObject = {"name": metadata["name"], "kind": call.resource.plural, "uid": metadata["uid"]}
    if call.resource.group:
        details["group"] = call.resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
