"""Values of expressions. Most are Python's own (booleans, numbers, texts, lists, maps); here are the others."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

INT_RANGE = range(-(2**63), 2**63)
UINT_RANGE = range(2**64)


class EvaluationError(Exception):
    """What an expression gives in place of a value; the text is cel-go's."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Uint(int):
    """A number of the type uint."""


@dataclass(frozen=True, order=True)
class Duration:
    """A length of time, in nanoseconds."""

    nanos: int


@dataclass(frozen=True, order=True)
class Timestamp:
    """A moment, in nanoseconds since 1970 in UTC; as a text it has the time zone that it was given with."""

    nanos: int
    offset_seconds: int = field(default=0, compare=False)


@dataclass(frozen=True)
class TypeName:
    """A type as a value: what ``type(x)`` gives."""

    name: str


@dataclass(frozen=True)
class Optional:
    """A value that may be missing: a tuple of one value or of none."""

    held: tuple[Any, ...] = ()


@functools.total_ordering
@dataclass(frozen=True, eq=True)
class Quantity:
    """A quantity such as ``500m``."""

    amount: Decimal

    def __lt__(self, other: Quantity) -> bool:
        return self.amount < other.amount


@dataclass(frozen=True)
class Url:
    """A URL that was read."""

    text: str


@dataclass(frozen=True)
class Address:
    """An IP address."""

    ip: IPv4Address | IPv6Address


@dataclass(frozen=True)
class Network:
    """An IP address with the length of its prefix."""

    cidr: IPv4Interface | IPv6Interface


@dataclass(frozen=True)
class NamedFormat:
    """A format that texts can be checked against."""

    name: str


class KeyedList(list[Any]):
    """A list of the type ``set`` (no keys) or ``map``: equal whatever the order, and joined by what its items are."""

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key_of(self, item: Any) -> str:
        """What tells an item from the others."""
        part = [item.get(key) for key in self.keys] if self.keys and isinstance(item, dict) else item
        return json.dumps(part, sort_keys=True, default=repr)


_NAMES: dict[type, str] = {
    bool: "bool",
    Uint: "uint",
    int: "int",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    KeyedList: "list",
    dict: "map",
    Duration: "google.protobuf.Duration",
    Timestamp: "google.protobuf.Timestamp",
    TypeName: "type",
    Optional: "optional_type",
    Quantity: "kubernetes.Quantity",
    Url: "kubernetes.URL",
    Address: "net.IP",
    Network: "net.CIDR",
    NamedFormat: "kubernetes.NamedFormat",
    type(None): "null_type",
}


def type_name(value: Any) -> str:
    """The name of a value's type."""
    return _NAMES.get(type(value)) or str(getattr(value, "TYPE_NAME", "dyn"))


def is_number(value: Any) -> bool:
    """Whether a value is an int, a uint or a double."""
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
