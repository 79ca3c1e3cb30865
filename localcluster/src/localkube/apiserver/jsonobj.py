"""Plain JSON objects as the API server handles them, and the few helpers every module needs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

JsonObject = dict[str, Any]
Json = Any
"""Any JSON value: dict, list, str, int, float, bool or None."""


def copy_json(value: Json) -> Json:
    """Returns a deep copy of a JSON value (much faster than ``copy.deepcopy``)."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value


def without_nulls(value: Json) -> Json:
    """Returns a copy of a JSON value without the fields that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def same(one: Json, other: Json) -> bool:
    """JSON equality at any depth: 1 is 1.0, but not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(item, other[name]) for name, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def with_whole_numbers(value: Json) -> Json:
    """Returns a copy in which 3.0 is 3, as it is after it was written as JSON and read again."""
    if isinstance(value, dict):
        return {key: with_whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def metadata_of(obj: JsonObject) -> JsonObject:
    """Returns the object's metadata; an empty one is put in place where there is none."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
        obj["metadata"] = metadata
    return metadata


def lookup(obj: Json, *path: str, default: Json = None) -> Json:
    """Returns the value at a path of keys, or ``default`` where any step is missing or not an object."""
    for step in path:
        if not isinstance(obj, dict) or step not in obj:
            return default
        obj = obj[step]
    return obj


def format_time(moment: datetime) -> str:
    """Returns a ``metav1.Time``: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 time; raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
