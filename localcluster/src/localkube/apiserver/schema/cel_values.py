"""JSON values as rules see them, typed by the schema: an integer-valued ``number`` is a double, and so on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from localkube.apiserver.jsonobj import Json
from localkube.apiserver.schema.expressions.declared import escaped
from localkube.apiserver.schema.expressions.functions import parse_duration, parse_timestamp
from localkube.apiserver.schema.expressions.values import EvaluationError, KeyedList
from localkube.apiserver.schema.node import Node

_VISIBLE_METADATA = ("name", "generateName")


def to_cel(node: Node | None, value: Json, *, root: bool = False) -> Any:
    """Convert a value; ``root`` shows of metadata only what rules may see (name and generateName)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(node, value)
    if isinstance(value, str):
        return _string(node, value)
    if isinstance(value, list):
        return _list(node, value)
    if isinstance(value, dict):
        return _object(node, value, root=root)
    return value


def _number(node: Node | None, value: float) -> int | float:
    declared = node.type if node is not None else ""
    if declared == "integer" and float(value).is_integer():
        return int(value)
    return float(value) if declared == "number" else value


def _list(node: Node | None, value: list[Json]) -> list[Any]:
    items = [to_cel(node.items if node is not None else None, item) for item in value]
    if node is not None and node.list_type in ("set", "map"):
        return KeyedList(items, node.map_keys)
    return items


def _object(node: Node | None, value: dict[str, Json], *, root: bool) -> dict[str, Any]:
    whole = root or (node is not None and bool(node.raw.get("x-kubernetes-embedded-resource")))
    converted = {}
    for name, item in value.items():
        if whole and name == "metadata" and isinstance(item, dict):
            item = {key: item[key] for key in _VISIBLE_METADATA if key in item}
        declared = node.field(name) if node is not None else None
        shown = escaped(name) if declared is not None else name
        if shown is not None:
            converted[shown] = to_cel(node.child(name) if node is not None else None, item)
    return converted


def _string(node: Node | None, value: str) -> Any:
    read = _FORMATS.get(node.raw.get("format", "")) if node is not None and node.type == "string" else None
    if read is None:
        return value
    try:
        return read(value)
    except (ValueError, binascii.Error):
        return EvaluationError(f"Invalid {node.raw['format'] if node is not None else 'value'} {value}")


_FORMATS: dict[str, Callable[[str], Any]] = {
    "byte": base64.b64decode,
    "duration": parse_duration,
    "date": lambda text: parse_timestamp(f"{text}T00:00:00Z"),
    "date-time": parse_timestamp,
}
