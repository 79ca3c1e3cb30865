"""Lists, maps and sets: sizes, order, sums, positions."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from localkube.apiserver.schema.expressions.declarations import SORT_BY
from localkube.apiserver.schema.expressions.functions.operators import GLOBALS as OPERATORS
from localkube.apiserver.schema.expressions.functions.texts import index_of, last_index_of
from localkube.apiserver.schema.expressions.values import Duration, EvaluationError, equal


def _sum(items: list[Any]) -> Any:
    if not items:
        return 0
    total = items[0] if not isinstance(items[0], Duration) else Duration(items[0].nanos)
    return functools.reduce(OPERATORS["_+_"], items[1:], total)


def _extreme(of: Callable[[list[Any]], Any], name: str) -> Callable[[list[Any]], Any]:
    def take(items: list[Any]) -> Any:
        if not items:
            raise EvaluationError(f"{name} called on empty list")
        return of(items)

    return take


def _index_of(items: Any, wanted: Any, *start: int) -> int:
    if isinstance(items, str):
        return index_of(items, wanted, *start)
    return next((index for index, item in enumerate(items) if equal(item, wanted)), -1)


def _last_index_of(items: Any, wanted: Any, *start: int) -> int:
    if isinstance(items, str):
        return last_index_of(items, wanted, *start)
    return max((index for index, item in enumerate(items) if equal(item, wanted)), default=-1)


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise EvaluationError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise EvaluationError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(items):
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    flat: list[Any] = []
    for item in items:
        flat += _flatten(item, depth - 1) if isinstance(item, list) and depth > 0 else [item]
    return flat


def _distinct(items: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for item in items:
        if not any(equal(item, other) for other in kept):
            kept.append(item)
    return kept


def _within(items: list[Any], other: list[Any]) -> bool:
    return all(any(equal(item, one) for one in items) for item in other)


GLOBALS: dict[str, Callable[..., Any]] = {
    "size": len,
    "lists.range": lambda count: list(range(count)),
    "sets.contains": _within,
    "sets.equivalent": lambda one, other: _within(one, other) and _within(other, one),
    "sets.intersects": lambda one, other: any(equal(item, wanted) for item in one for wanted in other),
}
METHODS: dict[str, Callable[..., Any]] = {
    "size": len,
    "isSorted": lambda items: all(not after < before for before, after in itertools.pairwise(items)),
    "sum": _sum,
    "min": _extreme(min, "min"),
    "max": _extreme(max, "max"),
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "join": lambda items, separator="": separator.join(items),
    "slice": _slice,
    "flatten": _flatten,
    "distinct": _distinct,
    "reverse": lambda items: items[::-1],
    "sort": sorted,
    SORT_BY: lambda items, keys: [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)],
}
