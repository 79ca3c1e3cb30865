"""Validation of values against structural schemas, with the messages Kubernetes gives. Pure."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from datetime import datetime

from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject
from rstore_devcluster.apiserver.schema import quantity
from rstore_devcluster.apiserver.schema.node import Node

TYPE_INVALID = "FieldValueTypeInvalid"
MAX_CAUSES = 50
_DURATION = re.compile(r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d|w))+$")


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def shown(value: Json) -> str:
    """A value as error messages show it."""
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), sort_keys=True)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def type_name(value: Json) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _type_fits(expected: str, value: Json) -> bool:
    actual = type_name(value)
    if expected == "number":
        return actual in ("integer", "number")
    if expected == "integer":
        return actual == "integer" or (isinstance(value, float) and value.is_integer())
    return actual == expected


def validate(node: Node, value: Json, path: str = "", *, root: bool = True) -> list[Cause]:
    """Everything wrong with a value, up to a bound."""
    causes: list[Cause] = []
    for cause in _walk(node, value, path, root):
        causes.append(cause)
        if len(causes) >= MAX_CAUSES:
            break
    return causes


def _invalid(path: str, value: Json, why: str) -> Cause:
    return Cause(path, f"Invalid value: {shown(value)}: {path} in body {why}")


def _walk(node: Node, value: Json, path: str, root: bool = False) -> Iterator[Cause]:
    raw = node.raw
    if value is None and raw.get("nullable"):
        return
    wrong = _type_cause(node, value, path)
    if wrong is not None:
        yield wrong
        return
    if "enum" in raw and value not in raw["enum"]:
        supported = ", ".join(shown(item) for item in raw["enum"])
        message = f"Unsupported value: {shown(value)}: supported values: {supported}"
        yield Cause(path, message, "FieldValueNotSupported")
    if isinstance(value, str):
        yield from _string(raw, value, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number(raw, value, path)
    elif isinstance(value, list):
        yield from _list(node, value, path)
    elif isinstance(value, dict):
        yield from _object(node, value, path, root)
    yield from _logic(node, value, path)


def _type_cause(node: Node, value: Json, path: str) -> Cause | None:
    raw = node.raw
    if raw.get("x-kubernetes-quantity"):
        if type_name(value) not in ("string", "integer", "number"):
            return Cause(path, f"Invalid value: {shown(value)}: must be a quantity", TYPE_INVALID)
        try:
            quantity.parse(str(value))
        except ValueError as error:
            return Cause(path, f"Invalid value: {shown(value)}: {error}", TYPE_INVALID)
        return None
    if node.int_or_string:
        if type_name(value) in ("string", "integer"):
            return None
        expected = "integer,string"
    elif not node.type or _type_fits(node.type, value):
        return None
    else:
        expected = node.type
    actual = type_name(value)
    message = f'Invalid value: "{actual}": {path} in body must be of type {expected}: "{actual}"'
    return Cause(path, message, TYPE_INVALID)


def _string(raw: JsonObject, value: str, path: str) -> Iterator[Cause]:
    if "maxLength" in raw and len(value) > raw["maxLength"]:
        yield Cause(path, f"Too long: may not be more than {raw['maxLength']} bytes", "FieldValueTooLong")
    if "minLength" in raw and len(value) < raw["minLength"]:
        yield _invalid(path, value, f"should be at least {raw['minLength']} chars long")
    if "pattern" in raw and not _pattern(raw["pattern"]).search(value):
        yield _invalid(path, value, f"should match '{raw['pattern']}'")
    expected = raw.get("format")
    if expected and not _format_fits(expected, value):
        message = f"Invalid value: {shown(value)}: {path} in body must be of type {expected}: {shown(value)}"
        yield Cause(path, message)


def _format_fits(expected: str, value: str) -> bool:
    if expected == "date-time":
        try:
            datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return False
    elif expected == "duration":
        return bool(_DURATION.match(value))
    elif expected == "byte":
        return bool(re.fullmatch(r"[A-Za-z0-9+/\s]*={0,2}\s*", value))
    return True


def _number(raw: JsonObject, value: float, path: str) -> Iterator[Cause]:
    low, high = raw.get("minimum"), raw.get("maximum")
    if low is not None and (value < low or (raw.get("exclusiveMinimum") and value == low)):
        word = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        yield _invalid(path, value, f"should be {word} {low}")
    if high is not None and (value > high or (raw.get("exclusiveMaximum") and value == high)):
        word = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        yield _invalid(path, value, f"should be {word} {high}")
    if raw.get("multipleOf") and value % raw["multipleOf"]:
        yield _invalid(path, value, f"should be a multiple of {raw['multipleOf']}")
    limits = {"int32": 2**31, "int64": 2**63}.get(raw.get("format", ""))
    if limits and not -limits <= value < limits:
        yield Cause(path, f"Invalid value: {shown(value)}: {path} in body must be of type {raw['format']}")


def _list(node: Node, value: list[Json], path: str) -> Iterator[Cause]:
    raw = node.raw
    if "maxItems" in raw and len(value) > raw["maxItems"]:
        message = f"Too many: {len(value)}: must have at most {raw['maxItems']} items"
        yield Cause(path, message, "FieldValueTooMany")
    if "minItems" in raw and len(value) < raw["minItems"]:
        yield Cause(path, f"Invalid value: {len(value)}: {path} in body should have at least {raw['minItems']} items")
    items = node.items
    if items is not None:
        for index, item in enumerate(value):
            yield from _walk(items, item, f"{path}[{index}]")
    yield from _duplicates(node, value, path)


def _duplicates(node: Node, value: list[Json], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, item in enumerate(value):
        if node.list_type == "map":
            if not isinstance(item, dict) or node.items is None:
                continue
            key: Json = {name: item.get(name, node.items.default_of(name)) for name in node.map_keys}
            key = {name: part for name, part in key.items() if part is not None}
        elif node.list_type == "set" or node.raw.get("uniqueItems"):
            key = item
        else:
            return
        text = shown(key)
        if text in seen:
            yield Cause(f"{path}[{index}]", f"Duplicate value: {text}", "FieldValueDuplicate")
        seen.add(text)


def _object(node: Node, value: JsonObject, path: str, root: bool) -> Iterator[Cause]:
    raw = node.raw
    if "maxProperties" in raw and len(value) > raw["maxProperties"]:
        message = f"Too many: {len(value)}: must have at most {raw['maxProperties']} items"
        yield Cause(path, message, "FieldValueTooMany")
    if "minProperties" in raw and len(value) < raw["minProperties"]:
        why = f"should have at least {raw['minProperties']} properties"
        yield Cause(path, f"Invalid value: {len(value)}: {path} in body {why}")
    for name in raw.get("required") or []:
        if name not in value:
            yield Cause(f"{path}.{name}" if path else name, "Required value", "FieldValueRequired")
    for name, item in value.items():
        if root and name == "metadata":
            continue
        child = node.child(name)
        if child is not None:
            yield from _walk(child, item, f"{path}.{name}" if path else name)


def _logic(node: Node, value: Json, path: str) -> Iterator[Cause]:
    raw = node.raw

    def fits(schema: JsonObject) -> bool:
        return next(_walk(Node(schema), value, path), None) is None

    where = f'"{path}"' if path else '""'
    for schema in raw.get("allOf") or []:
        yield from _walk(Node(schema), value, path)
    if raw.get("anyOf") and not node.int_or_string and not any(fits(schema) for schema in raw["anyOf"]):
        yield Cause(path, f"Invalid value: {shown(value)}: {where} must validate at least one schema (anyOf)")
    if raw.get("oneOf"):
        count = sum(fits(schema) for schema in raw["oneOf"])
        if count != 1:
            found = "none valid" if count == 0 else f"{count} valid alternatives"
            why = f"{where} must validate one and only one schema (oneOf). Found {found}"
            yield Cause(path, f"Invalid value: {shown(value)}: {why}")
    if raw.get("not") and fits(raw["not"]):
        yield Cause(path, f"Invalid value: {shown(value)}: {where} must not validate the schema (not)")
