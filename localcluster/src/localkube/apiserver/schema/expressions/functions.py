"""What the functions of expressions do, by name: plain functions and methods, whose first argument is their target.

They are called with values of the types that ``declarations`` names; what fails raises EvaluationError.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import re2

from localkube.apiserver.schema import quantity
from localkube.apiserver.schema.expressions.values import (
    INT_RANGE,
    Duration,
    EvaluationError,
    KeyedList,
    Optional,
    Quantity,
    Timestamp,
    equal,
    is_number,
    type_name,
)

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration(text: str) -> Duration:
    """Reads a duration such as ``1h30m``; raises ValueError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return Duration(0)
    if not re.fullmatch(f"(?:{_PART.pattern})+", rest):
        raise ValueError(text)
    nanos = 0
    for number, unit in _PART.findall(rest):
        whole, _, fraction = number.partition(".")
        nanos += int(whole or 0) * _UNITS[unit]
        nanos += int(fraction or 0) * _UNITS[unit] // 10 ** len(fraction)
    return Duration(sign * nanos)


def parse_timestamp(text: str) -> Timestamp:
    """Reads a moment as RFC 3339 has it; raises ValueError."""
    parts = _MOMENT.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    whole = datetime.fromisoformat(parts[1] + parts[3].replace("Z", "+00:00"))
    fraction = int((parts[2] or ".0")[1:10].ljust(9, "0"))
    return Timestamp(round((whole - _EPOCH) / timedelta(seconds=1)) * 10**9 + fraction)


def _converted(read: Callable[[str], Any], kind: str) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise EvaluationError(f"type conversion error from '{type_name(text)}' to '{kind}'") from None

    return convert


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return re.sub(r"e([+-])(\d)$", r"e\g<1>0\2", repr(value))


@functools.lru_cache(maxsize=1024)
def _pattern(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        raise EvaluationError(f"error parsing regexp: {error}") from None


def _matches(text: str, pattern: str) -> bool:
    return _pattern(pattern).search(text) is not None


def _quantity(text: str) -> Quantity:
    try:
        return Quantity(quantity.parse(text))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        quantity.parse(text)
    except ValueError:
        return False
    return True


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value not in INT_RANGE:
        raise EvaluationError("integer overflow")
    return value


def _add(left: Any, right: Any) -> Any:
    if not isinstance(left, KeyedList):
        return _bounded(left + right)
    # Of two items with the same key the later one takes the place of the earlier.
    items = {left.key_of(item): item for item in left}
    items |= {left.key_of(item): item for item in right}
    return KeyedList(items.values(), left.keys)


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, float):
        if right == 0:
            none = left == 0 or math.isnan(left)
            return math.nan if none else math.copysign(math.inf, left) * math.copysign(1, right)
        return left / right
    if right == 0:
        raise EvaluationError("division by zero")
    whole = abs(left) // abs(right)
    return _bounded(whole if (left < 0) == (right < 0) else -whole)


def _remainder(left: int, right: int) -> int:
    if right == 0:
        raise EvaluationError("modulus by zero")
    return int(math.copysign(abs(left) % abs(right), left))


def _index(of: Any, key: Any) -> Any:
    if isinstance(of, list):
        if not is_number(key) or int(key) != key:
            raise EvaluationError(f"unsupported index type '{type(key).__name__}' in list")
        if not 0 <= key < len(of):
            raise EvaluationError(f"index out of bounds: {int(key)}")
        return of[int(key)]
    for name, value in of.items():
        if equal(name, key):
            return value
    raise EvaluationError(f"no such key: {key}")


def _value(of: Optional) -> Any:
    if not of.content:
        raise EvaluationError("optional.none() dereference")
    return of.content[0]


GLOBALS: dict[str, Callable[..., Any]] = {
    "!_": lambda value: not value,
    "-_": lambda value: _bounded(-value),
    "_+_": _add,
    "_-_": lambda left, right: _bounded(left - right),
    "_*_": lambda left, right: _bounded(left * right),
    "_/_": _divide,
    "_%_": _remainder,
    "_<_": lambda left, right: bool(left < right),
    "_<=_": lambda left, right: bool(left <= right),
    "_>_": lambda left, right: bool(left > right),
    "_>=_": lambda left, right: bool(left >= right),
    "_==_": equal,
    "_!=_": lambda left, right: not equal(left, right),
    "@in": lambda item, items: any(equal(item, other) for other in items),
    "_[_]": _index,
    "size": len,
    "string": _string,
    "duration": _converted(parse_duration, "google.protobuf.Duration"),
    "timestamp": _converted(parse_timestamp, "google.protobuf.Timestamp"),
    "matches": _matches,
    "quantity": _quantity,
    "isQuantity": _is_quantity,
}
METHODS: dict[str, Callable[..., Any]] = {
    "size": len,
    "contains": lambda text, wanted: wanted in text,
    "startsWith": lambda text, wanted: text.startswith(wanted),
    "endsWith": lambda text, wanted: text.endswith(wanted),
    "matches": _matches,
    "hasValue": lambda of: bool(of.content),
    "value": _value,
    "or": lambda of, other: of if of.content else other,
    "orValue": lambda of, other: of.content[0] if of.content else other,
    "isGreaterThan": lambda left, right: left > right,
    "isLessThan": lambda left, right: left < right,
    "compareTo": lambda left, right: (left > right) - (left < right),
}
