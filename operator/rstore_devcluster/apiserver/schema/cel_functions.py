"""The functions Kubernetes adds to CEL, as far as this server has them; a rule that uses another is refused.

A function that fails raises ValueError; the evaluator makes it a CEL error value, which ``&&`` and ``||`` may absorb.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Callable
from decimal import Decimal
from functools import total_ordering
from typing import Any

from celpy import celtypes

from rstore_devcluster.apiserver.schema import quantity

MACROS = frozenset({"has", "all", "exists", "exists_one", "map", "filter"})


@total_ordering
class Quantity:
    """A quantity inside an expression."""

    def __init__(self, amount: Decimal) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and other.amount == self.amount

    def __lt__(self, other: Quantity) -> bool:
        return self.amount < other.amount

    def __hash__(self) -> int:
        return hash(self.amount)


def _bool(value: bool) -> celtypes.BoolType:
    return celtypes.BoolType(value)


def _is_quantity(text: Any) -> celtypes.BoolType:
    try:
        quantity.parse(str(text))
    except ValueError:
        return _bool(False)
    return _bool(True)


def _quantity(text: Any) -> Any:
    return Quantity(quantity.parse(str(text)))


def _compare(left: Any, right: Any) -> celtypes.IntType:
    return celtypes.IntType((left > right) - (left < right))


def _sign(value: Any) -> celtypes.IntType:
    return celtypes.IntType((value.amount > 0) - (value.amount < 0))


def _as_operand(value: Any) -> Decimal:
    return value.amount if isinstance(value, Quantity) else Decimal(int(value))


def _add(left: Any, right: Any) -> Any:
    return Quantity(left.amount + _as_operand(right))


def _sub(left: Any, right: Any) -> Any:
    return Quantity(left.amount - _as_operand(right))


def _as_integer(value: Any) -> celtypes.IntType:
    if value.amount != value.amount.to_integral_value():
        raise ValueError("cannot convert value to integer")
    return celtypes.IntType(int(value.amount))


def _is_integer(value: Any) -> celtypes.BoolType:
    return _bool(value.amount == value.amount.to_integral_value())


def _is_sorted(items: Any) -> celtypes.BoolType:
    return _bool(all(not items[index + 1] < items[index] for index in range(len(items) - 1)))


def _index_of(items: Any, wanted: Any) -> celtypes.IntType:
    if isinstance(items, str):
        return celtypes.IntType(str(items).find(str(wanted)))
    return celtypes.IntType(next((index for index, item in enumerate(items) if item == wanted), -1))


def _last_index_of(items: Any, wanted: Any) -> celtypes.IntType:
    if isinstance(items, str):
        return celtypes.IntType(str(items).rfind(str(wanted)))
    return celtypes.IntType(max((index for index, item in enumerate(items) if item == wanted), default=-1))


def _total(items: Any) -> Any:
    if not items:
        return celtypes.IntType(0)
    total = items[0]
    for item in items[1:]:
        total = total + item
    return total


def _least(items: Any) -> Any:
    if not items:
        raise ValueError("min called on empty list")
    return min(items)


def _greatest(items: Any) -> Any:
    if not items:
        raise ValueError("max called on empty list")
    return max(items)


def _find(text: Any, pattern: Any) -> celtypes.StringType:
    found = re.search(str(pattern), str(text))
    return celtypes.StringType(found[0] if found else "")


def _find_all(text: Any, pattern: Any) -> celtypes.ListType:
    return celtypes.ListType([celtypes.StringType(found[0]) for found in re.finditer(str(pattern), str(text))])


def _strings(transform: Callable[[str], str]) -> Callable[[Any], celtypes.StringType]:
    return lambda text: celtypes.StringType(transform(str(text)))


def _char_at(text: Any, index: Any) -> celtypes.StringType:
    if not 0 <= int(index) <= len(text):
        raise ValueError(f"index out of range: {int(index)}")
    return celtypes.StringType(str(text)[int(index) : int(index) + 1])


def _substring(text: Any, start: Any, end: Any = None) -> celtypes.StringType:
    stop = len(text) if end is None else int(end)
    if not 0 <= int(start) <= stop <= len(text):
        raise ValueError(f"invalid substring range. start: {int(start)}, end: {stop}")
    return celtypes.StringType(str(text)[int(start) : stop])


def _replace(text: Any, old: Any, new: Any, count: Any = -1) -> celtypes.StringType:
    return celtypes.StringType(str(text).replace(str(old), str(new), int(count)))


def _split(text: Any, separator: Any, limit: Any = -1) -> celtypes.ListType:
    most = int(limit)
    if most == 0:
        return celtypes.ListType([])
    parts = str(text).split(str(separator), most - 1 if most > 0 else -1) if str(separator) else list(str(text))
    return celtypes.ListType([celtypes.StringType(part) for part in parts])


def _join(items: Any, separator: Any = "") -> celtypes.StringType:
    return celtypes.StringType(str(separator).join(str(item) for item in items))


def _is_url(text: Any) -> celtypes.BoolType:
    try:
        parsed = urllib.parse.urlsplit(str(text))
    except ValueError:
        return _bool(False)
    return _bool(bool(parsed.scheme and (parsed.netloc or parsed.path.startswith("/"))))


def _is_ip(text: Any) -> celtypes.BoolType:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return _bool(False)
    return _bool(True)


def _is_cidr(text: Any) -> celtypes.BoolType:
    try:
        ipaddress.ip_interface(str(text))
    except ValueError:
        return _bool(False)
    return _bool("/" in str(text))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "isQuantity": _is_quantity,
    "quantity": _quantity,
    "compareTo": _compare,
    "isGreaterThan": lambda left, right: _bool(left > right),
    "isLessThan": lambda left, right: _bool(left < right),
    "sign": _sign,
    "add": _add,
    "sub": _sub,
    "asInteger": _as_integer,
    "isInteger": _is_integer,
    "asApproximateFloat": lambda value: celtypes.DoubleType(float(value.amount)),
    "isSorted": _is_sorted,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "sum": _total,
    "min": _least,
    "max": _greatest,
    "find": _find,
    "findAll": _find_all,
    "lowerAscii": _strings(str.lower),
    "upperAscii": _strings(str.upper),
    "trim": _strings(str.strip),
    "reverse": _strings(lambda text: text[::-1]),
    "charAt": _char_at,
    "substring": _substring,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "isURL": _is_url,
    "isIP": _is_ip,
    "isCIDR": _is_cidr,
}
