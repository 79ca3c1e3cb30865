"""JSON values as CEL sees them, typed by the schema: an integer-valued ``number`` is a double, and so on."""

from __future__ import annotations

from typing import Any

from celpy import celtypes

from rstore_devcluster.apiserver.jsonobj import Json
from rstore_devcluster.apiserver.schema.node import Node


def to_cel(node: Node | None, value: Json, *, root: bool = False) -> Any:
    """Convert a value; ``root`` shows of metadata only what rules may see (name and generateName)."""
    if value is None:
        return None
    if isinstance(value, bool):
        return celtypes.BoolType(value)
    if isinstance(value, (int, float)):
        declared = node.type if node is not None else ""
        if declared == "integer" and float(value).is_integer():
            return celtypes.IntType(int(value))
        if isinstance(value, float) or declared == "number":
            return celtypes.DoubleType(value)
        return celtypes.IntType(value)
    if isinstance(value, str):
        return _string(node, value)
    if isinstance(value, list):
        items = node.items if node is not None else None
        return celtypes.ListType([to_cel(items, item) for item in value])
    converted = {}
    for name, item in value.items():
        if root and name == "metadata":
            item = {key: item[key] for key in ("name", "generateName") if key in item}
        child = node.child(name) if node is not None else None
        converted[celtypes.StringType(name)] = to_cel(child, item)
    return celtypes.MapType(converted)


def _string(node: Node | None, value: str) -> Any:
    expected = node.raw.get("format") if node is not None else None
    if expected == "date-time":
        return celtypes.TimestampType(value)
    if expected == "duration":
        return celtypes.DurationType(value)
    return celtypes.StringType(value)
