"""Conversions between types: ``int('5')``, ``string(1.5)``, ``type(x)``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from localkube.apiserver.schema.expressions.functions.times import (
    duration_text,
    parse_duration,
    parse_timestamp,
    timestamp_text,
)
from localkube.apiserver.schema.expressions.values import (
    INT_RANGE,
    UINT_RANGE,
    Address,
    Duration,
    EvaluationError,
    Network,
    Timestamp,
    TypeName,
    Uint,
    type_name,
)

_SECOND = 10**9
_SECONDS = range(-62135596800, 253402300800)
"""Seconds of moments of the years 1 to 9999."""
_BOOLS = {"1": True, "t": True, "T": True, "true": True, "TRUE": True, "True": True} | {
    "0": False,
    "f": False,
    "F": False,
    "false": False,
    "FALSE": False,
    "False": False,
}


def _refused(value: Any, wanted: str) -> EvaluationError:
    return EvaluationError(f"type conversion error from '{type_name(value)}' to '{wanted}'")


def _int(value: Any) -> int:
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?[0-9]+", value) or int(value) not in INT_RANGE:
            raise _refused(value, "int")
        return int(value)
    if isinstance(value, (Duration, Timestamp)):
        return value.nanos if isinstance(value, Duration) else value.nanos // _SECOND
    if isinstance(value, float) and not math.isfinite(value):
        raise EvaluationError("integer overflow")
    if int(value) not in INT_RANGE:
        raise EvaluationError("integer overflow")
    return int(value)


def _uint(value: Any) -> Uint:
    if isinstance(value, str):
        if not re.fullmatch(r"[0-9]+", value) or int(value) not in UINT_RANGE:
            raise _refused(value, "uint")
        return Uint(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise EvaluationError("unsigned integer overflow")
    if int(value) not in UINT_RANGE:
        raise EvaluationError("unsigned integer overflow")
    return Uint(value)


def _double(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise _refused(value, "double") from None


def _bool(value: Any) -> bool:
    if isinstance(value, str):
        if value not in _BOOLS:
            raise _refused(value, "bool")
        return _BOOLS[value]
    return bool(value)


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def string(value: Any) -> str:
    """A value as a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if isinstance(value, Duration):
        return duration_text(value)
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    if isinstance(value, Address):
        return str(value.ip)
    return str(value.cidr) if isinstance(value, Network) else str(value)


def number_text(value: float) -> str:
    """A double as Go writes it with %g."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    return re.sub(r"e([+-])(\d)$", r"e\g<1>0\2", text)


def _duration(value: Any) -> Duration:
    if isinstance(value, int):
        return Duration(int(value))
    if isinstance(value, Duration):
        return value
    try:
        return parse_duration(value)
    except ValueError:
        raise _refused(value, "google.protobuf.Duration") from None


def _timestamp(value: Any) -> Timestamp:
    if isinstance(value, int):
        if value not in _SECONDS:
            raise EvaluationError("range error converting int to google.protobuf.Timestamp")
        return Timestamp(int(value) * _SECOND)
    if isinstance(value, Timestamp):
        return value
    try:
        return parse_timestamp(value)
    except ValueError:
        raise _refused(value, "google.protobuf.Timestamp") from None


GLOBALS: dict[str, Callable[..., Any]] = {
    "int": _int,
    "uint": _uint,
    "double": _double,
    "bool": _bool,
    "bytes": _bytes,
    "string": string,
    "duration": _duration,
    "timestamp": _timestamp,
    "dyn": lambda value: value,
    "type": lambda value: TypeName(type_name(value)),
}
METHODS: dict[str, Callable[..., Any]] = {}
