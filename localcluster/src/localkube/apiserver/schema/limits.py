"""What one value must be by itself: its type, a text's length, pattern and format, a number's range.

The rules and the wording are those of ``k8s.io/kube-openapi/pkg/validation``. A cause with the field ``NOWHERE`` is one
for which that library names no field.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import re2

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.schema import quantity
from localkube.apiserver.schema.builtin import DECODED
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.rendering import number_text, quoted, shown
from localkube.apiserver.schema.string_formats import checks_strings, fits_format

TYPE_INVALID = "FieldValueTypeInvalid"
NOWHERE = "<nil>"
_MAX_WHOLE_FLOAT = 2**53 - 1
_MAX_FLOAT32 = 3.4028235677973366e38
_NUMBER_FORMATS = frozenset({"int32", "int64", "float", "double"})


@functools.lru_cache(maxsize=4096)
def _pattern(text: str) -> Callable[[str], object]:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options).search  # type: ignore[no-any-return]


def type_name(value: Json) -> str:
    """Returns the JSON type of a value; a whole number too large for 64 bits is a ``number``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if -(2**63) <= value < 2**63 else "number"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def types_of(node: Node) -> tuple[str, ...]:
    """Returns the types that a schema allows; none when it allows all."""
    if node.int_or_string:
        return ("integer", "string")
    return (node.type,) if node.type else ()


def format_of(node: Node) -> str:
    """Returns the format that a schema asks for; empty for one that says nothing."""
    name = str(node.raw.get("format") or "")
    return name if name in _NUMBER_FORMATS or checks_strings(name) else ""


def wrong_type(path: str, expected: str, actual: str) -> Cause:
    """Returns a value of another type or format."""
    text = quoted(actual)
    return Cause(path, f"Invalid value: {text}: {path} in body must be of type {expected}: {text}", TYPE_INVALID)


def out_of_bounds(path: str, value: Json, why: str) -> Cause:
    """Returns a value that passes a limit."""
    return Cause(path, f"Invalid value: {shown(value)}: {path} in body {why}")


def type_cause(node: Node, value: Json, path: str) -> Cause | None:
    """Returns whether a value is of another type than the schema's."""
    if node.raw.get("x-kubernetes-quantity"):
        return _quantity_cause(value, path)
    types, expected_format = types_of(node), format_of(node)
    if not types:
        return None
    actual = type_name(value)
    if actual == "null":
        return None if node.raw.get("nullable") else wrong_type(path, ",".join(types), actual)
    whole = actual == "number" and "integer" in types and float(value).is_integer() and abs(value) <= _MAX_WHOLE_FLOAT
    fits = actual in types or whole or (actual == "integer" and "number" in types)
    if actual not in ("string", "array"):
        actual_format = {"integer": "int64", "number": "float64"}.get(actual, "")
        if expected_format and not fits and actual_format != expected_format:
            return wrong_type(path, expected_format, actual_format)
    elif expected_format and not {"integer", "number"} & set(types):
        return None
    return None if fits else wrong_type(path, ",".join(types), actual)


def _quantity_cause(value: Json, path: str) -> Cause | None:
    if type_name(value) not in ("string", "integer", "number"):
        return Cause(path, f"Invalid value: {shown(value)}: {quantity.SYNTAX}", TYPE_INVALID)
    try:
        quantity.parse(str(value).strip())
    except ValueError as error:
        return Cause(path, f"Invalid value: {shown(value)}: {error}", TYPE_INVALID)
    return None


def string_cause(raw: JsonObject, value: str, path: str) -> Cause | None:
    """Returns the first limit that a text passes: its length, then its pattern."""
    if "maxLength" in raw and len(value) > raw["maxLength"]:
        return Cause(path, f"Too long: may not be more than {raw['maxLength']} bytes", "FieldValueTooLong")
    if "minLength" in raw and len(value) < raw["minLength"]:
        return out_of_bounds(path, value, f"should be at least {raw['minLength']} chars long")
    if raw.get("pattern") and not _pattern(raw["pattern"])(value):
        return out_of_bounds(path, value, f"should match '{raw['pattern']}'")
    return None


def format_cause(node: Node, value: str, path: str) -> Cause | None:
    """Returns whether a text is not of the format that the schema asks for."""
    expected = format_of(node)
    if node.raw.get(DECODED):
        return None
    return None if not expected or fits_format(expected, value) else wrong_type(path, expected, value)


def number_causes(node: Node, value: float, path: str) -> Iterator[Cause]:
    """Yields the limits that a number passes. A whole number is compared with the whole part of a limit."""
    raw, types = node.raw, types_of(node)
    kind, number_format = types[0] if len(types) == 1 else "", format_of(node)
    whole = type_name(value) == "integer"
    value = value if whole else float(value)

    def limit(name: str, prefix: str) -> Iterator[tuple[float, Cause | None]]:
        if name in raw:
            broken = _range_cause(raw[name], kind, number_format, prefix, path)
            yield int(raw[name]) if whole and broken is None else float(raw[name]), broken

    wrong = _range_cause(value, kind, number_format, "Checked", path)
    if wrong is not None:
        yield wrong
    for factor, broken in limit("multipleOf", "MultipleOf"):
        cause = broken or _multiple_cause(value, factor, path)
        if cause is not None:
            yield cause
    for name, prefix, sign in (("maximum", "Maximum boundary", 1), ("minimum", "Minimum boundary", -1)):
        exclusive = bool(raw.get(f"exclusive{name.capitalize()}"))
        for bound, broken in limit(name, prefix):
            if broken is not None:
                yield broken
            if (value - bound) * sign > 0 or (exclusive and value == bound):
                relation = f"{'less' if sign > 0 else 'greater'} than{'' if exclusive else ' or equal to'}"
                yield out_of_bounds(path, value, f"should be {relation} {number_text(bound)}")


def _range_cause(value: float, kind: str, number_format: str, prefix: str, path: str) -> Cause | None:
    if kind == "integer":
        size = 2**31 if number_format == "int32" else 2**63
        fits = float(value).is_integer() and -size <= value < size
    else:
        kind = kind or "number"
        fits = number_format != "float" or abs(value) < _MAX_FLOAT32
    if fits:
        return None
    text = f"with format {number_format}" if number_format else "(default format)"
    return Cause(NOWHERE, f'Invalid value: "": {prefix} value must be of type {kind} {text} in {path}')


def _multiple_cause(value: float, factor: float, path: str) -> Cause | None:
    if factor <= 0:
        text = number_text(factor)
        return Cause(path, f"Invalid value: {text}: factor MultipleOf declared for {path} must be positive: {text}")
    if isinstance(value, int):
        fits = value % int(factor) == 0
    else:
        multiple = 1 / factor * value if factor < 1 else value / factor
        fits = abs(multiple) <= _MAX_WHOLE_FLOAT and (multiple == int(multiple) or _close(multiple))
    return None if fits else out_of_bounds(path, value, f"should be a multiple of {number_text(factor)}")


def _close(multiple: float) -> bool:
    """Returns whether a quotient is whole but for what floating point adds."""
    difference = abs(multiple - int(multiple))
    return difference < 1e-9 * abs(multiple)
