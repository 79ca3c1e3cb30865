"""Expressions as trees of calls and comprehensions: operators are calls, macros are expanded.

Macros expand as in https://github.com/google/cel-spec/blob/master/doc/langdef.md#macros; operators are calls of
functions with the names that the CEL specification gives them, such as ``_&&_``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lark

from localkube.apiserver.schema.expressions.declarations import UNSUPPORTED
from localkube.apiserver.schema.expressions.literals import text_of
from localkube.apiserver.schema.expressions.parser import ExpressionSyntaxError, parse_tree

ACCUMULATOR = "@result"
NOT_STRICTLY_FALSE = "@not_strictly_false"
Position = tuple[int, int]
_RELATIONS = {
    "relation_lt": "_<_",
    "relation_le": "_<=_",
    "relation_gt": "_>_",
    "relation_ge": "_>=_",
    "relation_eq": "_==_",
    "relation_ne": "_!=_",
    "relation_in": "@in",
    "addition_add": "_+_",
    "addition_sub": "_-_",
    "multiplication_mul": "_*_",
    "multiplication_div": "_/_",
    "multiplication_mod": "_%_",
    "conditionalor": "_||_",
    "conditionaland": "_&&_",
}


@dataclass(frozen=True, eq=False)
class Expr:
    """A part of an expression; ``line`` and ``column`` count from 1."""

    line: int
    column: int


@dataclass(frozen=True, eq=False)
class Literal(Expr):
    """A constant: None, bool, int, float or str."""

    value: Any


@dataclass(frozen=True, eq=False)
class Ident(Expr):
    """A name."""

    name: str


@dataclass(frozen=True, eq=False)
class Select(Expr):
    """A field of a value; with ``test`` the value is whether the field is there."""

    operand: Expr
    field: str
    test: bool = False


@dataclass(frozen=True, eq=False)
class Call(Expr):
    """A call of a function, or of a method of ``target``."""

    function: str
    args: tuple[Expr, ...]
    target: Expr | None = None


@dataclass(frozen=True, eq=False)
class ListLiteral(Expr):
    """``[a, b]``."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class MapLiteral(Expr):
    """``{a: b}``."""

    entries: tuple[tuple[Expr, Expr], ...]


@dataclass(frozen=True, eq=False)
class Comprehension(Expr):
    """A loop over a list or the keys of a map that carries a value along, by the name ACCUMULATOR."""

    variable: str
    range: Expr
    start: Expr
    condition: Expr
    step: Expr
    result: Expr


@functools.lru_cache(maxsize=4096)
def parse(source: str) -> Expr:
    """Returns the tree of an expression; raises ExpressionSyntaxError."""
    try:
        return _lower(parse_tree(source))
    except RecursionError:
        raise ExpressionSyntaxError("ERROR: <input>:-1:0: expression recursion limit exceeded") from None


def names(expression: Expr) -> set[str]:
    """Returns all names that stand alone in an expression."""
    inside = (getattr(expression, field.name) for field in dataclasses.fields(expression))
    inner = {expression.name} if isinstance(expression, Ident) else set()
    for value in inside:
        for part in _flat(value):
            inner |= names(part)
    return inner


def _flat(value: object) -> Iterator[Expr]:
    if isinstance(value, Expr):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _flat(item)


def problem(source: str, at: Expr, text: str) -> str:
    """Returns a message about a part of an expression, with the line that it stands in."""
    lines = source.splitlines() or [""]
    return f"ERROR: <input>:{at.line}:{at.column}: {text}\n | {lines[at.line - 1]}\n | {'.' * (at.column - 1)}^"


def _lower(tree: lark.Tree[Any]) -> Expr:
    data, children = str(tree.data), tree.children
    at = (tree.meta.line, tree.meta.column) if not tree.meta.empty else (1, 1)
    if data == "expr" and len(children) == 3:
        return Call(*at, "_?_:_", tuple(_lower(child) for child in children))
    if data in ("conditionalor", "conditionaland") and len(children) == 2:
        return Call(*at, _RELATIONS[data], (_lower(children[0]), _lower(children[1])))
    if data in ("relation", "addition", "multiplication") and len(children) == 2:
        operator, right = children
        name = _RELATIONS[str(operator.data)]
        sign = (operator.meta.end_line, operator.meta.end_column - len(name.strip("_@")))
        return Call(*sign, name, (_lower(operator.children[0]), _lower(right)))
    if data == "unary" and len(children) == 2:
        name = "!_" if children[0].data == "unary_not" else "-_"
        return Call(*at, name, (_lower(children[1]),))
    lowered = _MEMBERS.get(data)
    return lowered(tree, at) if lowered is not None else _lower(children[0])


def _arguments(children: list[Any]) -> tuple[Expr, ...]:
    if not children:
        return ()
    return tuple(_lower(child) for child in children[0].children)


def _literal(tree: lark.Tree[Any], at: Position) -> Expr:
    token: Any = tree.children[0]
    text = str(token)
    if token.type == "INT_LIT":
        return _integer(text, at)
    if token.type == "FLOAT_LIT":
        return Literal(*at, float(text))
    if token.type == "BOOL_LIT":
        return Literal(*at, text == "true")
    if token.type == "NULL_LIT":
        return Literal(*at, None)
    if token.type in ("UINT_LIT", "BYTES_LIT"):
        raise _unsupported(at, text)
    return Literal(*at, text_of(text))


def _integer(text: str, at: Position) -> Expr:
    value = int(text, 16 if "x" in text else 10)
    if value not in range(-(2**63), 2**63):
        raise ExpressionSyntaxError(f"ERROR: <input>:{at[0]}:{at[1]}: Syntax error: invalid int literal")
    return Literal(*at, value)


def _unsupported(at: Position, what: str) -> ExpressionSyntaxError:
    return ExpressionSyntaxError(f"ERROR: <input>:{at[0]}:{at[1]}: {what} is not supported by this server")


def _method(tree: lark.Tree[Any], at: Position) -> Expr:
    target, name, *rest = tree.children
    lowered, args = _lower(target), _arguments(rest)
    macro = _MACROS.get((str(name), len(args)))
    if macro is not None:
        return macro(at, lowered, args)
    if str(name) in UNSUPPORTED or str(name) in _MACRO_NAMES:
        raise _unsupported(_end(name), f"{name}() with {len(args)} arguments")
    return Call(*_end(name), str(name), args, lowered)


def _function(tree: lark.Tree[Any], at: Position) -> Expr:
    name, *rest = tree.children
    args = _arguments(rest)
    if str(name) == "has" and len(args) == 1:
        if not isinstance(args[0], Select) or args[0].test:
            place = f"{args[0].line}:{args[0].column}"
            raise ExpressionSyntaxError(f"ERROR: <input>:{place}: invalid argument to has() macro")
        return Select(*at, args[0].operand, args[0].field, test=True)
    if str(name) in UNSUPPORTED:
        raise _unsupported(_end(name), f"{name}()")
    return Call(*_end(name), str(name), args)


def _end(token: Any) -> Position:
    """Returns where a name ends: there messages about its call point to."""
    return token.end_line, token.end_column


def _selection(tree: lark.Tree[Any], at: Position) -> Expr:
    del at
    token: Any = tree.children[1]
    return Select(token.line, max(1, token.column - 1), _lower(tree.children[0]), str(token))


def _index(tree: lark.Tree[Any], at: Position) -> Expr:
    return Call(*at, "_[_]", (_lower(tree.children[0]), _lower(tree.children[1])))


def _map(tree: lark.Tree[Any], at: Position) -> Expr:
    parts = [_lower(child) for child in tree.children[0].children] if tree.children else []
    return MapLiteral(*at, tuple(zip(parts[::2], parts[1::2], strict=True)))


def _object(tree: lark.Tree[Any], at: Position) -> Expr:
    del tree
    text = "undeclared reference to a message type (in container '')"
    raise ExpressionSyntaxError(f"ERROR: <input>:{at[0]}:{at[1]}: {text}")


_MEMBERS: dict[str, Callable[[lark.Tree[Any], Position], Expr]] = {
    "literal": _literal,
    "ident": lambda tree, at: Ident(*at, str(tree.children[0])),
    "dot_ident": lambda tree, at: Ident(*at, str(tree.children[0])),
    "member_dot": _selection,
    "member_index": _index,
    "member_dot_arg": _method,
    "ident_arg": _function,
    "dot_ident_arg": _function,
    "list_lit": lambda tree, at: ListLiteral(*at, _arguments(list(tree.children))),
    "map_lit": _map,
    "member_object": _object,
}


def _variable(at: Position, args: tuple[Expr, ...]) -> str:
    if not isinstance(args[0], Ident):
        raise ExpressionSyntaxError(f"ERROR: <input>:{at[0]}:{at[1]}: argument must be a simple name")
    return args[0].name


def _loop(
    at: Position, over: Expr, args: tuple[Expr, ...], start: Expr, step: Expr, condition: Expr | None = None
) -> Comprehension:
    """Returns a loop over what the first argument names, whose result is the value that it carried along."""
    going_on = condition if condition is not None else Literal(*at, True)
    return Comprehension(*at, _variable(at, args), over, start, going_on, step, Ident(*at, ACCUMULATOR))


def _all(at: Position, over: Expr, args: tuple[Expr, ...]) -> Expr:
    condition = Call(*at, NOT_STRICTLY_FALSE, (Ident(*at, ACCUMULATOR),))
    step = Call(*at, "_&&_", (Ident(*at, ACCUMULATOR), args[1]))
    return _loop(at, over, args, Literal(*at, True), step, condition)


def _exists(at: Position, over: Expr, args: tuple[Expr, ...]) -> Expr:
    condition = Call(*at, NOT_STRICTLY_FALSE, (Call(*at, "!_", (Ident(*at, ACCUMULATOR),)),))
    step = Call(*at, "_||_", (Ident(*at, ACCUMULATOR), args[1]))
    return _loop(at, over, args, Literal(*at, False), step, condition)


def _exists_one(at: Position, over: Expr, args: tuple[Expr, ...]) -> Expr:
    more = Call(*at, "_+_", (Ident(*at, ACCUMULATOR), Literal(*at, 1)))
    loop = _loop(at, over, args, Literal(*at, 0), Call(*at, "_?_:_", (args[1], more, Ident(*at, ACCUMULATOR))))
    return dataclasses.replace(loop, result=Call(*at, "_==_", (Ident(*at, ACCUMULATOR), Literal(*at, 1))))


def _collect(at: Position, over: Expr, args: tuple[Expr, ...], item: Expr, wanted: Expr | None = None) -> Expr:
    step: Expr = Call(*at, "_+_", (Ident(*at, ACCUMULATOR), ListLiteral(*at, (item,))))
    if wanted is not None:
        step = Call(*at, "_?_:_", (wanted, step, Ident(*at, ACCUMULATOR)))
    return _loop(at, over, args, ListLiteral(*at, ()), step)


_MACROS: dict[tuple[str, int], Callable[[Position, Expr, tuple[Expr, ...]], Expr]] = {
    ("all", 2): _all,
    ("exists", 2): _exists,
    ("exists_one", 2): _exists_one,
    ("map", 2): lambda at, over, args: _collect(at, over, args, args[1]),
    ("map", 3): lambda at, over, args: _collect(at, over, args, args[2], args[1]),
    ("filter", 2): lambda at, over, args: _collect(at, over, args, args[0], args[1]),
}
_MACRO_NAMES = frozenset(name for name, _ in _MACROS)
