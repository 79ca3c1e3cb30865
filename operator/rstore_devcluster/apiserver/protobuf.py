"""Request bodies in Kubernetes' protobuf encoding, for the few kinds that Go clients insist on sending that way.

Answers are always JSON, which those clients accept as well. A kind that is not in the table is refused with 415.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime

from .errors import bad_request, unsupported_media_type
from .jsonobj import Json, JsonObject, format_time

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

_Message = dict[int, tuple[str, str]]
"""Field number: (JSON name, type). ``?`` after a type keeps zero values; ``*`` repeats; ``%`` is a string-keyed map."""

_MESSAGES: dict[str, _Message] = {
    "ObjectMeta": {
        1: ("name", "string"),
        2: ("generateName", "string"),
        3: ("namespace", "string"),
        5: ("uid", "string"),
        6: ("resourceVersion", "string"),
        7: ("generation", "int"),
        8: ("creationTimestamp", "Time"),
        9: ("deletionTimestamp", "Time"),
        10: ("deletionGracePeriodSeconds", "int?"),
        11: ("labels", "string%"),
        12: ("annotations", "string%"),
        13: ("ownerReferences", "OwnerReference*"),
        14: ("finalizers", "string*"),
        17: ("managedFields", "ManagedFieldsEntry*"),
    },
    "OwnerReference": {
        1: ("kind", "string"),
        3: ("name", "string"),
        4: ("uid", "string"),
        5: ("apiVersion", "string"),
        6: ("controller", "bool?"),
        7: ("blockOwnerDeletion", "bool?"),
    },
    "ManagedFieldsEntry": {
        1: ("manager", "string"),
        2: ("operation", "string"),
        3: ("apiVersion", "string"),
        4: ("time", "Time"),
        6: ("fieldsType", "string"),
        7: ("fieldsV1", "FieldsV1"),
        8: ("subresource", "string"),
    },
    "Secret": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "bytes%"),
        3: ("type", "string"),
        4: ("stringData", "string%"),
        5: ("immutable", "bool?"),
    },
    "ConfigMap": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "string%"),
        3: ("binaryData", "bytes%"),
        4: ("immutable", "bool?"),
    },
    "Namespace": {1: ("metadata", "ObjectMeta"), 2: ("spec", "NamespaceSpec"), 3: ("status", "NamespaceStatus")},
    "NamespaceSpec": {1: ("finalizers", "string*")},
    "NamespaceStatus": {1: ("phase", "string")},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "int?"),
        2: ("preconditions", "Preconditions"),
        3: ("orphanDependents", "bool?"),
        4: ("propagationPolicy", "string"),
        5: ("dryRun", "string*"),
    },
    "Preconditions": {1: ("uid", "string"), 2: ("resourceVersion", "string")},
    "Eviction": {1: ("metadata", "ObjectMeta"), 2: ("deleteOptions", "DeleteOptions")},
    "Lease": {1: ("metadata", "ObjectMeta"), 2: ("spec", "LeaseSpec")},
    "LeaseSpec": {
        1: ("holderIdentity", "string"),
        2: ("leaseDurationSeconds", "int"),
        3: ("acquireTime", "MicroTime"),
        4: ("renewTime", "MicroTime"),
        5: ("leaseTransitions", "int?"),
    },
    "TokenRequest": {1: ("metadata", "ObjectMeta"), 2: ("spec", "TokenRequestSpec")},
    "TokenRequestSpec": {1: ("audiences", "string*"), 4: ("expirationSeconds", "int")},
    "SelfSubjectAccessReview": {1: ("metadata", "ObjectMeta"), 2: ("spec", "AccessReviewSpec")},
    "AccessReviewSpec": {
        1: ("resourceAttributes", "ResourceAttributes"),
        2: ("nonResourceAttributes", "PathAttributes"),
    },
    "ResourceAttributes": {
        1: ("namespace", "string"),
        2: ("verb", "string"),
        3: ("group", "string"),
        4: ("version", "string"),
        5: ("resource", "string"),
        6: ("subresource", "string"),
        7: ("name", "string"),
    },
    "PathAttributes": {1: ("path", "string"), 2: ("verb", "string")},
}
_KINDS = frozenset(
    {
        "Secret",
        "ConfigMap",
        "Namespace",
        "DeleteOptions",
        "Eviction",
        "Lease",
        "TokenRequest",
        "SelfSubjectAccessReview",
    }
)


def decode_protobuf(data: bytes) -> JsonObject:
    """The object a protobuf body holds; raises 400 for a malformed one, 415 for a kind without a table."""
    if not data.startswith(_MAGIC):
        raise bad_request("the protobuf body does not start with the k8s magic number")
    try:
        envelope = dict(_fields(data[len(_MAGIC) :]))
        meta = {number: bytes(value).decode() for number, value in _fields(_bytes(envelope[1]))}
        api_version, kind = meta.get(1, ""), meta.get(2, "")
        if kind not in _KINDS:
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
    table = _MESSAGES[name]
    made: JsonObject = {}
    for number, raw in _fields(data):
        if number not in table:
            continue
        field, kind = table[number]
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
