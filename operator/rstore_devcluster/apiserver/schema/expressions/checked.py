"""Compiling an expression against a schema: its type, whether it needs ``oldSelf``, and what it can cost. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_devcluster.apiserver.schema.expressions import ast, types
from rstore_devcluster.apiserver.schema.expressions.check import ExpressionTypeError, check
from rstore_devcluster.apiserver.schema.expressions.declared import Declared
from rstore_devcluster.apiserver.schema.expressions.estimate import max_cost
from rstore_devcluster.apiserver.schema.expressions.types import Type


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
    except ast.ExpressionSyntaxError as problem:
        raise CompilationError(str(problem)) from None
    old = types.optional_of(declared.type) if optional_old else declared.type
    try:
        checked = check(expression, {"self": declared.type, "oldSelf": old})
    except ExpressionTypeError as problem:
        raise CompilationError(ast.problem(source, problem.at, problem.text)) from None
    uses_old = any(isinstance(part, ast.Ident) and part.name == "oldSelf" for part in checked.types)
    return Compiled(checked.types[expression], uses_old, max_cost(expression, checked, declared))
