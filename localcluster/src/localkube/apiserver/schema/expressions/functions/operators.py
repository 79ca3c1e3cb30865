"""Operators: arithmetic with the limits of CEL's numbers, comparison, membership, indexes; and optional values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from localkube.apiserver.schema.expressions.values import (
    INT_RANGE,
    UINT_RANGE,
    Duration,
    EvaluationError,
    KeyedList,
    Optional,
    Timestamp,
    Uint,
    equal,
    is_number,
)


def bounded(value: Any, like: Any) -> Any:
    """A result of arithmetic, of the type of its operand."""
    if isinstance(like, Uint):
        if value not in UINT_RANGE:
            raise EvaluationError("unsigned integer overflow")
        return Uint(value)
    if isinstance(like, int) and value not in INT_RANGE:
        raise EvaluationError("integer overflow")
    return value


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, KeyedList):
        return _merged(left, right)
    if isinstance(left, (Duration, Timestamp)):
        moment = isinstance(left, Timestamp) or isinstance(right, Timestamp)
        return (Timestamp if moment else Duration)(left.nanos + right.nanos)
    return bounded(left + right, left)


def _merged(left: KeyedList, right: list[Any]) -> KeyedList:
    """Two lists that are sets or have keys: what has the same key takes the place of the earlier item."""
    items = {left.key_of(item): item for item in left}
    items |= {left.key_of(item): item for item in right}
    return KeyedList(items.values(), left.keys)


def _subtract(left: Any, right: Any) -> Any:
    if isinstance(left, (Duration, Timestamp)):
        moment = isinstance(left, Timestamp) and isinstance(right, Duration)
        return (Timestamp if moment else Duration)(left.nanos - right.nanos)
    return bounded(left - right, left)


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, float):
        if right == 0:
            return (
                math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)
            )
        return left / right
    if right == 0:
        raise EvaluationError("division by zero")
    whole = abs(left) // abs(right)
    return bounded(whole if (left < 0) == (right < 0) else -whole, left)


def _remainder(left: Any, right: Any) -> Any:
    if right == 0:
        raise EvaluationError("modulus by zero")
    return bounded(int(math.copysign(abs(left) % abs(right), left)), left)


def _ordered(decide: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: bool(decide(left, right))


def _index(of: Any, key: Any) -> Any:
    if isinstance(of, Optional):
        return _optional_index(of, key)
    if isinstance(of, list):
        if not is_number(key) or int(key) != key:
            raise EvaluationError(f"unsupported index type '{type(key).__name__}' in list")
        if not 0 <= key < len(of):
            raise EvaluationError(f"index out of bounds: {int(key)}")
        return of[int(key)]
    found = next((value for name, value in of.items() if equal(name, key)), _MISSING)
    if found is _MISSING:
        raise EvaluationError(f"no such key: {key}")
    return found


_MISSING = object()


def _optional_index(of: Optional, key: Any) -> Optional:
    try:
        return Optional((_index(of.held[0], key),)) if of.held else of
    except EvaluationError:
        return Optional()


def _in(item: Any, items: Any) -> bool:
    return any(equal(item, other) for other in items)


def _inserted(entries: dict[Any, Any], *new: Any) -> dict[Any, Any]:
    """A map with one more entry, given as key and value or as a map."""
    added = {new[0]: new[1]} if len(new) == 2 else new[0]
    for key in added:
        if key in entries:
            raise EvaluationError(f"insert failed: key {key} already exists")
    return {**entries, **added}


def _value(of: Optional) -> Any:
    if not of.held:
        raise EvaluationError("optional.none() dereference")
    return of.held[0]


GLOBALS: dict[str, Callable[..., Any]] = {
    "!_": lambda value: not value,
    "-_": lambda value: bounded(-value, value),
    "_+_": _add,
    "_-_": _subtract,
    "_*_": lambda left, right: bounded(left * right, left),
    "_/_": _divide,
    "_%_": _remainder,
    "_<_": _ordered(lambda left, right: left < right),
    "_<=_": _ordered(lambda left, right: left <= right),
    "_>_": _ordered(lambda left, right: left > right),
    "_>=_": _ordered(lambda left, right: left >= right),
    "_==_": equal,
    "_!=_": lambda left, right: not equal(left, right),
    "@in": _in,
    "cel.@mapInsert": _inserted,
    "_[_]": _index,
    "_[?_]": lambda of, key: _optional_index(of if isinstance(of, Optional) else Optional((of,)), key),
    "optional.unwrap": lambda items: [item.held[0] for item in items if item.held],
    "optional.of": lambda value: Optional((value,)),
    "optional.ofNonZeroValue": lambda value: Optional((value,) if value else ()),
    "optional.none": Optional,
}
METHODS: dict[str, Callable[..., Any]] = {
    "unwrapOpt": lambda items: [item.held[0] for item in items if item.held],
    "first": lambda items: Optional(tuple(items[:1])),
    "last": lambda items: Optional(tuple(items[-1:])),
    "hasValue": lambda of: bool(of.held),
    "value": _value,
    "or": lambda of, other: of if of.held else other,
    "orValue": lambda of, other: of.held[0] if of.held else other,
}
