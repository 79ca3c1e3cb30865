"""Objects of built-in kinds as Go's types hold them: what is decoded from JSON and encoded again.

A null is a missing field; empty texts, lists and maps, false and 0 are left out where Go's type cannot tell them from
a missing one; times, quantities and base64 are checked and come out in one form.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime

from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.schema import quantity
from localkube.apiserver.schema.builtin import MICRO_TIME
from localkube.apiserver.schema.node import Node

_QUANTITY = "x-kubernetes-quantity"
_OPEN = "x-kubernetes-preserve-unknown-fields"
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]")
_TEXTS_KEPT = frozenset(
    # Texts that may be empty: Go holds a pointer to them, or writes them always.
    {"storageClassName", "volumeAttributesClassName", "holderIdentity", "runtimeClassName", "appProtocol"}
    | {"loadBalancerClass", "trafficDistribution", "localhostProfile", "reportingComponent", "reportingInstance"}
    | {"name", "type", "service", "kind", "apiVersion"}
    | {"deprecationWarning", "$ref", "x-kubernetes-list-type", "x-kubernetes-map-type"}
)
_ZEROS_DROPPED = frozenset(
    {"hostNetwork", "hostPID", "hostIPC", "readOnly", "stdin", "stdinOnce", "tty", "publishNotReadyAddresses"}
    | {"paused", "unschedulable", "minReadySeconds", "hostPort", "nodePort", "initialDelaySeconds", "count"}
    | {"healthCheckNodePort", "readyReplicas", "currentReplicas", "updatedReplicas", "unavailableReplicas"}
    | {"observedGeneration"}
)


_INT64 = frozenset(
    {"terminationGracePeriodSeconds", "activeDeadlineSeconds", "tolerationSeconds", "expirationSeconds", "seconds"}
    | {"runAsUser", "runAsGroup", "fsGroup", "uid", "gid", "generation", "observedGeneration", "revision"}
    | {"deletionGracePeriodSeconds", "minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems"}
    | {"maxItems", "minProperties", "maxProperties"}
)
"""Whole numbers of more than 32 bits."""


class DecodingError(ValueError):
    """A value that its type cannot be read from; the text is what the client reads."""


def nulls_dropped(node: Node, value: Json) -> Json:
    """Returns a copy in which null fields are missing; null values of maps and items of lists are empty ones."""
    if node.raw.get(_OPEN):
        return value
    if isinstance(value, dict):
        kept: JsonObject = {}
        for name, item in value.items():
            declared = node.field(name)
            child = declared or node.additional
            if item is None and child is not None:
                if declared is None:
                    kept[name] = _zero(child)
            else:
                kept[name] = item if child is None else nulls_dropped(child, item)
        return kept
    if isinstance(value, list) and node.items is not None:
        items = node.items
        if items.raw.get(_OPEN):
            return value
        return [_zero(items) if item is None else nulls_dropped(items, item) for item in value]
    return value


def _zero(node: Node) -> Json:
    if node.raw.get(_QUANTITY):
        return "0"
    return {"string": "", "integer": 0, "number": 0, "boolean": False, "array": []}.get(node.type, {})


def normalise(node: Node, value: Json, *, keep_scalars: bool = False) -> Json:
    """Returns the value as it comes back, without nulls; of right types already. Raises DecodingError.

    ``keep_scalars``: empty texts and zeros stay, for kinds that tell them from missing ones (definitions).
    """
    return _decoded(node, nulls_dropped(node, value), "", keep_scalars)


def _decoded(node: Node, value: Json, name: str, keep_scalars: bool) -> Json:
    raw = node.raw
    if raw.get(_OPEN):
        return value
    if raw.get(_QUANTITY):
        try:
            # Lists of resources are rounded to thousandths, single quantities are not.
            return quantity.canonical(value, milli=not name)
        except ValueError as error:
            raise DecodingError(str(error)) from None
    if raw.get("format") == "byte" and isinstance(value, list):
        return _bytes(value)
    if isinstance(value, dict):
        kept: JsonObject = {}
        required = raw.get("required") or ()
        for field, item in value.items():
            declared = node.field(field)
            child = declared or node.additional
            made = item if child is None else _decoded(child, item, field if declared else "", keep_scalars)
            scalar = keep_scalars and not isinstance(made, (dict, list))
            if declared is None or field in required or scalar or not _left_out(declared, field, made):
                kept[field] = made
        return kept
    if isinstance(value, list):
        return value if node.items is None else [_decoded(node.items, item, "", keep_scalars) for item in value]
    if isinstance(value, str):
        return _text(raw, value)
    short = node.type == "integer" and name and name not in _INT64
    if short and isinstance(value, int) and not -(2**31) <= value < 2**31:
        raise DecodingError(f"json: cannot unmarshal number {value} into Go struct field .{name} of type int32")
    return value


def _left_out(node: Node, name: str, value: Json) -> bool:
    if value in ([], {}) and not isinstance(value, bool):
        # A structure stays when it is empty; a list or a map does not.
        return isinstance(value, list) or node.additional is not None
    if value == "":
        return node.type == "string" and name not in _TEXTS_KEPT
    return not value and name in _ZEROS_DROPPED


def _bytes(value: list[Json]) -> str:
    """Bytes that were sent as a list of numbers."""
    for item in value:
        if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item <= 255:
            raise DecodingError(f"json: cannot unmarshal {json.dumps(item)} into Go value of type uint8")
    return base64.b64encode(bytes(value)).decode()


def _text(raw: JsonObject, value: str) -> str:
    form = raw.get("format")
    if form == "byte":
        _check_base64(value)
    elif form == "date-time":
        return _time(value, micro=bool(raw.get(MICRO_TIME)))
    return value


def _time(value: str, *, micro: bool) -> str:
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    parts = _TIME.fullmatch(value)
    try:
        if parts is None or (micro and len(parts[7] or "") != 6):
            raise ValueError
        text = "".join((*value[:19], ".", (parts[7] or "0")[:6].ljust(6, "0"), parts[8].replace("Z", "+00:00")))
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DecodingError(f'parsing time "{value}" as "{layout}": cannot parse "{value}"') from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def _check_base64(value: str) -> None:
    """Raise what Go's decoder says of a text that is not base64; newlines are skipped."""
    digits = 0
    start = 0
    for index, letter in enumerate(value):
        if letter in "\r\n":
            continue
        if letter == "=" and digits % 4 in (2, 3):
            padding = value[index:].replace("\r", "").replace("\n", "")
            wanted = "=" * (4 - digits % 4)
            if padding == wanted:
                return
            raise DecodingError(f"illegal base64 data at input byte {min(index + len(wanted), len(value))}")
        if not _BASE64.fullmatch(letter):
            raise DecodingError(f"illegal base64 data at input byte {index}")
        if digits % 4 == 0:
            start = index
        digits += 1
    if digits % 4:
        raise DecodingError(f"illegal base64 data at input byte {start}")
