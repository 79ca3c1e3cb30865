"""Evaluating expressions. ``&&``, ``||`` and the loops made of them absorb errors as CEL says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from localkube.apiserver.schema.expressions import ast
from localkube.apiserver.schema.expressions.declarations import FUNCTIONS, Overload
from localkube.apiserver.schema.expressions.functions import GLOBALS, METHODS
from localkube.apiserver.schema.expressions.types import Kind, Type
from localkube.apiserver.schema.expressions.values import EvaluationError, type_name

_NO_OVERLOAD = EvaluationError("no such overload")


def evaluate(expression: ast.Expr, variables: dict[str, Any]) -> Any:
    """Returns the value of an expression; raises EvaluationError."""
    value = _of(expression, variables)
    if isinstance(value, EvaluationError):
        raise value
    return value


def _of(part: ast.Expr, scope: dict[str, Any]) -> Any:
    """Returns the value of a part, or an EvaluationError in its place."""
    if isinstance(part, ast.Literal):
        return part.value
    if isinstance(part, ast.Ident):
        return scope[part.name]
    if isinstance(part, ast.Select):
        return _select(part, scope)
    if isinstance(part, ast.Call):
        return _call(part, scope)
    if isinstance(part, ast.ListLiteral):
        items = [_of(item, scope) for item in part.items]
        return _first_error(items) or items
    if isinstance(part, ast.MapLiteral):
        pairs = [(_of(key, scope), _of(value, scope)) for key, value in part.entries]
        return _first_error(value for pair in pairs for value in pair) or dict(pairs)
    if isinstance(part, ast.Comprehension):
        return _comprehension(part, scope)
    raise TypeError(type(part).__name__)


def _first_error(values: Iterable[Any]) -> EvaluationError | None:
    return next((value for value in values if isinstance(value, EvaluationError)), None)


def _select(part: ast.Select, scope: dict[str, Any]) -> Any:
    operand = _of(part.operand, scope)
    if isinstance(operand, EvaluationError):
        return operand
    if not isinstance(operand, dict):
        return EvaluationError(f"no such key: {part.field}") if not part.test else _NO_OVERLOAD
    if part.test:
        return part.field in operand
    return operand[part.field] if part.field in operand else EvaluationError(f"no such key: {part.field}")


def _call(part: ast.Call, scope: dict[str, Any]) -> Any:
    if part.function in ("_&&_", "_||_"):
        return _logic(part, scope, absorbing=part.function == "_||_")
    if part.function == "_?_:_":
        condition = _of(part.args[0], scope)
        if isinstance(condition, bool):
            return _of(part.args[1] if condition else part.args[2], scope)
        return condition if isinstance(condition, EvaluationError) else _NO_OVERLOAD
    arguments = [_of(argument, scope) for argument in part.args]
    if part.function == ast.NOT_STRICTLY_FALSE:
        return arguments[0] is not False
    if part.target is not None:
        arguments.insert(0, _of(part.target, scope))
    return _first_error(arguments) or _invoke(part.function, arguments, method=part.target is not None)


def _invoke(name: str, arguments: list[Any], *, method: bool) -> Any:
    if not any(overload.method is method and _takes(overload, arguments) for overload in FUNCTIONS.get(name, ())):
        return _NO_OVERLOAD
    try:
        return (METHODS if method else GLOBALS)[name](*arguments)
    except EvaluationError as error:
        return error


def _takes(overload: Overload, arguments: list[Any]) -> bool:
    return len(overload.takes) == len(arguments) and all(map(_fits, overload.takes, arguments))


def _fits(wanted: Type, value: Any) -> bool:
    if wanted.kind in (Kind.DYN, Kind.PARAMETER):
        return True
    if wanted.kind is Kind.LIST:
        return isinstance(value, list) and all(_fits(wanted.parameters[0], item) for item in value)
    name = wanted.name if wanted.kind is Kind.OPAQUE else wanted.kind.value
    return bool(type_name(value) == name)


def _logic(part: ast.Call, scope: dict[str, Any], *, absorbing: bool) -> Any:
    """``&&`` and ``||``: either side alone may decide, even beside an error."""
    left = _of(part.args[0], scope)
    if left is absorbing:
        return absorbing
    right = _of(part.args[1], scope)
    if right is absorbing:
        return absorbing
    if isinstance(left, bool) and isinstance(right, bool):
        return not absorbing
    return _first_error((left, right)) or _NO_OVERLOAD


def _comprehension(part: ast.Comprehension, scope: dict[str, Any]) -> Any:
    over = _of(part.range, scope)
    if isinstance(over, EvaluationError):
        return over
    if not isinstance(over, (list, dict)):
        return _NO_OVERLOAD
    carried = _of(part.start, scope)
    for item in over:
        inner = {**scope, ast.ACCUMULATOR: carried, part.variable: item}
        if _of(part.condition, inner) is not True:
            break
        carried = _of(part.step, inner)
        if isinstance(carried, EvaluationError) and not isinstance(part.start, ast.Literal):
            return carried
    return _of(part.result, {**scope, ast.ACCUMULATOR: carried})
