"""Values of expressions. Most are Python's own (booleans, numbers, texts, lists, maps); here are the others."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

INT_RANGE = range(-(2**63), 2**63)


class EvaluationError(Exception):
    """What an expression gives in place of a value; the text is cel-go's."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, order=True)
class Duration:
    """A length of time, in nanoseconds."""

    nanos: int


@dataclass(frozen=True, order=True)
class Timestamp:
    """A moment, in nanoseconds since 1970 in UTC."""

    nanos: int


@dataclass(frozen=True)
class Optional:
    """A value that may be missing: a tuple of one value or of none."""

    content: tuple[Any, ...] = ()


@functools.total_ordering
@dataclass(frozen=True, eq=True)
class Quantity:
    """A quantity such as ``500m``."""

    amount: Decimal

    def __lt__(self, other: Quantity) -> bool:
        return self.amount < other.amount


class KeyedList(list[Any]):
    """A list of the type ``set`` (no keys) or ``map``: equal whatever the order, and joined by what its items are."""

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key_of(self, item: Any) -> str:
        """Returns what tells an item from the others."""
        part = [item.get(key) for key in self.keys] if self.keys and isinstance(item, dict) else item
        return json.dumps(part, sort_keys=True, default=repr)


_NAMES: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    KeyedList: "list",
    dict: "map",
    Duration: "google.protobuf.Duration",
    Timestamp: "google.protobuf.Timestamp",
    Optional: "optional_type",
    Quantity: "kubernetes.Quantity",
    type(None): "null_type",
}


def type_name(value: Any) -> str:
    """Returns the name of a value's type."""
    return _NAMES.get(type(value), "dyn")


def is_number(value: Any) -> bool:
    """Returns whether a value is an int or a double."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """Equality of any two values: numbers by their value, anything else of two types never."""
    if is_number(left) and is_number(right):
        return bool(left == right)
    if isinstance(left, list) and isinstance(right, list):
        return _equal_lists(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(item, right[name]) for name, item in left.items())
    return type_name(left) == type_name(right) and bool(left == right)


def _equal_lists(left: list[Any], right: list[Any]) -> bool:
    if len(left) != len(right):
        return False
    keyed = left if isinstance(left, KeyedList) else right
    if isinstance(keyed, KeyedList):
        others = {keyed.key_of(item): item for item in right}
        return all(keyed.key_of(item) in others and equal(item, others[keyed.key_of(item)]) for item in left)
    return all(equal(one, other) for one, other in zip(left, right, strict=True))
