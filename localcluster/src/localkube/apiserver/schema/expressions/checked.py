"""Compiling an expression against a schema: its type, whether it needs ``oldSelf``, and what it can cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localkube.apiserver.schema.expressions import ast, types
from localkube.apiserver.schema.expressions.check import Checked, ExpressionTypeError, check
from localkube.apiserver.schema.expressions.declared import Declared
from localkube.apiserver.schema.expressions.estimate import max_cost
from localkube.apiserver.schema.expressions.functions import GLOBALS
from localkube.apiserver.schema.expressions.parser import ExpressionSyntaxError
from localkube.apiserver.schema.expressions.types import Type
from localkube.apiserver.schema.expressions.values import EvaluationError


class CompilationError(Exception):
    """An expression does not compile; the text is the compiler's."""


@dataclass(frozen=True)
class Compiled:
    """An expression that fits the types."""

    output: Type
    uses_old: bool
    max_cost: int
    """The most that one evaluation costs."""


def compile_expression(source: str, declared: Declared, *, optional_old: bool) -> Compiled:
    """Compile an expression; raises CompilationError. ``optional_old``: ``oldSelf`` is an optional value."""
    try:
        expression = ast.parse(source)
    except ExpressionSyntaxError as problem:
        raise CompilationError(str(problem)) from None
    old = types.optional_of(declared.type) if optional_old else declared.type
    try:
        checked = check(expression, {"self": declared.type, "oldSelf": old})
    except ExpressionTypeError as problem:
        raise CompilationError(ast.problem(source, problem.at, problem.text)) from None
    _check_literals(source, checked)
    uses_old = any(isinstance(part, ast.Ident) and part.name == "oldSelf" for part in checked.types)
    return Compiled(checked.types[expression], uses_old, max_cost(expression, checked, declared))


# Calls whose argument must be right when it is written out: how it is tried, given the argument.
_TRIED: dict[str, Callable[[Any], Any]] = {
    "duration": GLOBALS["duration"],
    "timestamp": GLOBALS["timestamp"],
    "matches": lambda pattern: GLOBALS["matches"]("", pattern),
}


def _check_literals(source: str, checked: Checked) -> None:
    """Raise CompilationError for a duration, a time or a pattern that is written out and is none."""
    for part in checked.types:
        if not isinstance(part, ast.Call) or part.function not in _TRIED or not part.args:
            continue
        literal = part.args[1] if part.function == "matches" and part.target is None else part.args[0]
        if not isinstance(literal, ast.Literal) or not isinstance(literal.value, str):
            continue
        try:
            _TRIED[part.function](literal.value)
        except EvaluationError:
            raise CompilationError(ast.problem(source, literal, f"invalid {part.function} argument")) from None
