"""Request bodies in Kubernetes' protobuf encoding, for the few kinds that Go clients insist on sending that way.

Answers are always JSON, which those clients accept as well. A kind that is not in the table is refused with 415.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime

from localkube.apiserver.errors import bad_request, unsupported_media_type
from localkube.apiserver.http.protobuf_tables import KINDS, MESSAGES
from localkube.apiserver.jsonobj import Json, JsonObject, format_time

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"


def decode_protobuf(data: bytes) -> JsonObject:
    """Returns the object a protobuf body holds; raises 400 for a malformed one, 415 for a kind without a table."""
    if not data.startswith(_MAGIC):
        raise bad_request("the protobuf body does not start with the k8s magic number")
    try:
        envelope = dict(_fields(data[len(_MAGIC) :]))
        meta = {number: bytes(value).decode() for number, value in _fields(_bytes(envelope[1]))}
        api_version, kind = meta.get(1, ""), meta.get(2, "")
        if kind not in KINDS:
            raise unsupported_media_type(
                f"bodies of kind {kind} are accepted as application/json or application/yaml only (got {MEDIA_TYPE})"
            )
        return {"apiVersion": api_version, "kind": kind, **_message(kind, _bytes(envelope.get(2, b"")))}
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise bad_request(f"couldn't decode the protobuf body: {error}") from None


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a length-delimited field was expected")
    return value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("varint is too long")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
        elif wire == 2:
            length, position = _varint(data, position)
            if position + length > len(data):
                raise ValueError("truncated field")
            yield number, data[position : position + length]
            position += length
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} is not supported")


def _message(name: str, data: bytes) -> JsonObject:
    table = MESSAGES[name]
    made: JsonObject = {}
    for number, raw in _fields(data):
        if number not in table:
            raise unsupported_media_type(
                f"field {number} of {name} is accepted as application/json or application/yaml only (got {MEDIA_TYPE})"
            )
        field, kind = table[number]
        if kind == "skip":
            continue
        if kind.endswith("*"):
            made.setdefault(field, []).append(_value(kind[:-1], raw))
        elif kind.endswith("%"):
            entry = dict(_fields(_bytes(raw)))
            key = _bytes(entry.get(1, b"")).decode()
            made.setdefault(field, {})[key] = _value(kind[:-1], entry.get(2, b""))
        else:
            value = _value(kind.rstrip("?"), raw)
            if kind.endswith("?") or value not in ("", 0, None, {}):
                made[field] = value
    return made


def _value(kind: str, raw: int | bytes) -> Json:
    if kind == "int":
        number = int(raw) if isinstance(raw, int) else 0
        return number - (1 << 64) if number >= 1 << 63 else number
    if kind == "bool":
        return bool(raw)
    data = _bytes(raw)
    if kind == "string":
        return data.decode()
    if kind == "bytes":
        return base64.b64encode(data).decode()
    if kind == "FieldsV1":
        return json.loads(_bytes(dict(_fields(data)).get(1, b"{}")))
    if kind == "IntOrString":
        parts = dict(_fields(data))
        return _bytes(parts.get(3, b"")).decode() if parts.get(1) else _value("int", parts.get(2, 0))
    if kind in ("Time", "MicroTime"):
        return _time(kind, data)
    return _message(kind, data)


def _time(kind: str, data: bytes) -> str | None:
    parts = dict(_fields(data))
    seconds, nanos = _value("int", parts.get(1, 0)), _value("int", parts.get(2, 0))
    if not parts or seconds < 0:
        return None
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
    return format_time(moment) if kind == "Time" else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
