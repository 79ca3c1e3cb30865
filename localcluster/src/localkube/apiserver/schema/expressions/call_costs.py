"""What calls of functions cost beyond their arguments.

The rules are those of cel-go's type checker (``checker/cost.go``) and of Kubernetes' libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from localkube.apiserver.schema.expressions.ranges import ONE, TRAVERSAL, Range
from localkube.apiserver.schema.expressions.types import Kind, Type

_PATTERN = 0.25
"""The cost of one character of a pattern, for each step of the text."""


@dataclass(frozen=True)
class Argument:
    """An argument of a function, or what a method is called on."""

    type: Type
    size: Range


Rule = Callable[[Argument | None, list[Argument], tuple[Type, ...]], Range | None]
"""What a call costs, given the target, the arguments and the types of its overload; None: one."""


def _of_argument(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> Range:
    del target, takes
    return args[0].size.by(TRAVERSAL)


def _contains(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> Range | None:
    del takes
    return None if target is None else target.size.by(TRAVERSAL) * args[0].size.by(TRAVERSAL)


def _matches(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> Range | None:
    del takes
    return None if target is None else (target.size + ONE).by(TRAVERSAL) * args[0].size.by(_PATTERN)


def _compare(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> Range | None:
    return _unequal(target, args, takes) if takes[0].kind in (Kind.STRING, Kind.BYTES) else None


def _equal(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> Range:
    left, right = args[0].type, args[1].type
    return ONE if left == right and left.name == "kubernetes.Quantity" else _unequal(target, args, takes)


def _unequal(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> Range:
    del target, takes
    smaller = min(args[0].size.high, args[1].size.high)
    return Range(1 if smaller else 0, smaller).by(TRAVERSAL)


def _in(target: Argument | None, args: list[Argument], takes: tuple[Type, ...]) -> Range | None:
    del target
    return args[1].size if takes[1].kind is Kind.LIST else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(("_<_", "_<=_", "_>_", "_>=_"), _compare),
    **dict.fromkeys(("startsWith", "endsWith", "quantity", "isQuantity"), _of_argument),
    "_==_": _equal,
    "_!=_": _unequal,
    "@in": _in,
    "contains": _contains,
    "matches": _matches,
}
"""What calls cost beyond their arguments; all others cost one."""
