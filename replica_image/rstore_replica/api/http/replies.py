"""Answers of HTTP/1.1 as etcd words them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

import grpc
from rstore_wire.exchange import Reply
from rstore_wire.service import Metadata

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
_NO_SNIFFING = (("x-content-type-options", "nosniff"),)

HTTP_STATUSES: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 408,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""As grpc-gateway maps them."""


def text(status: int, line: str, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Returns an answer of one line, as Go's ``http.Error`` makes it."""
    return Reply(status, f"{line}\n".encode(), TEXT, (*headers, *_NO_SNIFFING))


def not_found() -> Reply:
    """Returns the answer for a path that is nowhere."""
    return text(404, "404 page not found")


def only_get() -> Reply:
    """Returns the answer for a method other than GET."""
    return text(405, "Method Not Allowed", (("allow", "GET"),))


def compact_json(value: object) -> bytes:
    """Returns the value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def failure(code: grpc.StatusCode, details: str, metadata: Metadata) -> Reply:
    """Returns the answer for a call that has failed; what goes along with its status is in headers."""
    headers = tuple(
        (f"grpc-metadata-{key}", value)
        for key, value in metadata
        if isinstance(value, str) and value.isascii() and value.isprintable()
    )
    body = {"error": details, "code": code.value[0], "message": details}
    return Reply(HTTP_STATUSES[code], compact_json(body), JSON, headers)


def late_failure(code: grpc.StatusCode, details: str) -> bytes:
    """Returns the last line of a stream of answers that has failed."""
    status = HTTP_STATUSES[code]
    error = {
        "grpc_code": code.value[0],
        "http_code": status,
        "message": details,
        "http_status": HTTPStatus(status).phrase,
    }
    return compact_json({"error": error}) + b"\n"
