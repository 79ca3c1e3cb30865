"""What calls of functions cost beyond their arguments, and how large their results can be. Pure.

The rules are those of cel-go's type checker (``checker/cost.go``) and of Kubernetes' libraries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from localkube.apiserver.schema.expressions.declarations import SORT_BY
from localkube.apiserver.schema.expressions.ranges import (
    MAX,
    NOTHING,
    ONE,
    TRAVERSAL,
    Range,
    exactly,
    plus,
    times,
)
from localkube.apiserver.schema.expressions.types import Kind, Type

_PATTERN = 0.25
"""The cost of one character of a pattern, for each step of the text."""
_NEW_LIST = 10
_FORMAT_PATTERN = 128
_FORMAT_BYTES = 64


@dataclass(frozen=True)
class Argument:
    """An argument of a function, or what a method is called on."""

    type: Type
    size: Range
    element_size: Range
    """The size of the items, for lists."""
    literal: object = None


Rule = Callable[[Argument | None, list[Argument], tuple[Type, ...]], tuple[Range, Range | None] | None]


def _traversal_of_argument(
    target: Argument | None, args: list[Argument], takes: tuple[Type, ...]
) -> tuple[Range, None]:
    del target, takes
    return args[0].size.by(TRAVERSAL), None


def _traversal_of_target(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range]:
    size = target.size if target is not None else args[0].size
    del takes
    return size.by(TRAVERSAL), size


def _contains(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None] | None:
    del takes
    return None if target is None else (target.size.by(TRAVERSAL) * args[0].size.by(TRAVERSAL), None)


def _matches(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None] | None:
    del takes
    if target is None:
        return None
    return (target.size + ONE).by(TRAVERSAL) * args[0].size.by(_PATTERN), None


def _find(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    found = _matches(target, args, takes)
    return None if found is None or target is None else (found[0], Range(0, target.size.high))


def _compare(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None] | None:
    del target
    if takes[0].kind not in (Kind.STRING, Kind.BYTES):
        return None
    smaller = min(args[0].size.high, args[1].size.high)
    return Range(1 if smaller else 0, smaller).by(TRAVERSAL), None


def _equal(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None]:
    del target, takes
    left, right = args[0].type, args[1].type
    if left == right and left.kind is Kind.OPAQUE:
        if left.name in ("net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver"):
            return ONE, None
        if left.name == "kubernetes.NamedFormat":
            return Range(1, _FORMAT_BYTES).by(TRAVERSAL), None
        if left.name == "kubernetes.URL":
            return Range(1, args[1].size.high).by(TRAVERSAL), None
    return _unequal(None, args, ())


def _unequal(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None]:
    del target, takes
    smaller = min(args[0].size.high, args[1].size.high)
    return Range(1 if smaller else 0, smaller).by(TRAVERSAL), None


def _in(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None] | None:
    del target
    return (args[1].size, None) if takes[1].kind is Kind.LIST else None


def _of_items(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None] | None:
    """Functions that look at each item of a list once, or at each byte of a text."""
    del args, takes
    if target is None:
        return None
    if target.type.parameters:
        each = ONE
        if target.type.parameters[0].kind in (Kind.STRING, Kind.BYTES):
            each += target.element_size.by(TRAVERSAL)
        return target.size * each, None
    return target.size.by(TRAVERSAL), None


def _new_list(size: Range, factor: float = 1) -> tuple[Range, Range]:
    """The cost of a list that is made in steps, and its size."""
    return size.by(factor) + ONE + exactly(_NEW_LIST), size


def _number(argument: Argument, default: int) -> int:
    literal = argument.literal
    return literal if isinstance(literal, int) and not isinstance(literal, bool) and literal >= 0 else default


def _slice(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    del takes
    if target is None:
        return None
    start, end = _number(args[0], 0), _number(args[1], target.size.high)
    return _new_list(exactly(max(0, end - start)))


def _range(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range]:
    del target, takes
    return _new_list(exactly(_number(args[0], MAX)))


def _reverse(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    del args, takes
    return None if target is None else _new_list(target.size)


def _flatten(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    del takes
    return None if target is None else _new_list(target.size, _number(args[0], MAX) if args else 1)


def _distinct(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    del args, takes
    return None if target is None else _new_list(target.size * target.size, 2)


def _sort(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    """``sort``, and sorting by keys, which are an argument."""
    if target is None:
        return None
    keys = args[0] if args else target
    texts = takes[-1].parameters[0].kind in (Kind.STRING, Kind.BYTES)
    return _new_list(keys.size * keys.size, 2 + TRAVERSAL if texts else 2)


def _sets(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None]:
    del target, takes
    return args[0].size * args[1].size + ONE, None


def _equivalent(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None]:
    del target, takes
    return (args[0].size * args[1].size).by(2) + ONE, None


def _replace(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    del takes
    if target is None:
        return None
    size, old, new = target.size, args[0].size, args[1].size
    most, kept = 0, 0
    if old.low == 0:
        most, kept = min(MAX, size.high + 1), size.high
    elif new.high <= old.low:
        kept = size.high
    else:
        most = math.ceil(size.high / old.low)
    result = Range(0, plus(times(most, new.high), kept))
    return size.by(2 * TRAVERSAL), result


def _split(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    del takes
    if target is None:
        return None
    most = target.size.high
    if len(args) > 1 and isinstance(args[1].literal, int):
        most = args[1].literal if args[1].literal >= 0 else MAX
    return target.size.by(2 * TRAVERSAL), Range(0, most)


def _join(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    del takes
    if target is None:
        return None
    size = target.size * target.element_size if target.type.parameters else NOTHING
    if args:
        count = target.size
        size += args[0].size * Range(max(0, count.low - 1), max(0, count.high - 1))
    return size.by(TRAVERSAL), size


def _contains_ip(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None]:
    del target
    address = Range(4, 16)
    cost = (address + address).by(TRAVERSAL)
    return (cost + args[0].size.by(TRAVERSAL) if takes[-1].kind is Kind.STRING else cost), None


def _contains_cidr(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None]:
    return _contains_ip(target, args, takes)[0] + Range(4, 16).by(TRAVERSAL) + ONE, None


def _parse(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range | None]:
    """Functions that read a text; ``ip`` of a network is a field of it."""
    del takes
    if target is not None or not args:
        return ONE, None
    return args[0].size.by(TRAVERSAL), None


def _url(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range]:
    del target, takes
    return args[0].size.by(TRAVERSAL), args[0].size


def _canonical(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None]:
    del target, takes
    return args[0].size.by(2 * TRAVERSAL), None


def _validate(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None]:
    del target, takes
    return args[0].size.by(TRAVERSAL).by(_FORMAT_PATTERN * _PATTERN), None


def _quote(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range]:
    del target, takes
    size = args[0].size
    return size.by(TRAVERSAL), size + size + exactly(2)


def _bytes(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    del target
    if takes[0].kind is not Kind.STRING:
        return None
    return args[0].size.by(TRAVERSAL), Range(args[0].size.low, times(args[0].size.high, 4))


def _string(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, Range] | None:
    del target
    if takes[0].kind is not Kind.BYTES:
        return None
    return args[0].size.by(TRAVERSAL), Range(args[0].size.low // 4, args[0].size.high)


def _format(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> tuple[Range, None] | None:
    del args, takes
    return None if target is None else (target.size.by(TRAVERSAL), None)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("_<_", "_<=_", "_>_", "_>=_"), _compare),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _of_items),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _traversal_of_target),
    **dict.fromkeys(("find", "findAll"), _find),
    **dict.fromkeys(("ip", "cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"), _parse),
    **dict.fromkeys(("startsWith", "endsWith"), _traversal_of_argument),
    "_==_": _equal,
    "_!=_": _unequal,
    "@in": _in,
    "contains": _contains,
    "matches": _matches,
    "slice": _slice,
    "lists.range": _range,
    "reverse": _reverse,
    "flatten": _flatten,
    "distinct": _distinct,
    **dict.fromkeys(("sort", SORT_BY), _sort),
    **dict.fromkeys(("sets.contains", "sets.intersects"), _sets),
    "sets.equivalent": _equivalent,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "url": _url,
    "ip.isCanonical": _canonical,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "validate": _validate,
    "strings.quote": _quote,
    "bytes": _bytes,
    "string": _string,
    "format": _format,
}
"""What calls cost beyond their arguments; all others cost one."""
