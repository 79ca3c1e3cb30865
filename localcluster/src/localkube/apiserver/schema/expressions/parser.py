"""The parser of expressions, with celpy's grammar."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import celpy.celparser
import lark


class ExpressionSyntaxError(Exception):
    """A text is no expression, or one that this server does not support; the message says where and why."""


@functools.cache
def _parser() -> lark.Lark:
    grammar = (Path(celpy.celparser.__file__).parent / "cel.lark").read_text(encoding="utf-8")
    return lark.Lark(
        grammar,
        parser="lalr",
        start="expr",
        lexer_callbacks={"IDENT": celpy.celparser.CELParser.ambiguous_literals},
        propagate_positions=True,
        maybe_placeholders=False,
        priority="invert",
    )


def parse_tree(source: str) -> lark.Tree[Any]:
    """Returns the tree that the grammar gives; raises ExpressionSyntaxError."""
    try:
        return _parser().parse(source)
    except lark.exceptions.UnexpectedInput as error:
        line, column = max(error.line, 1), max(error.column, 1)
        lines = source.splitlines() or [""]
        shown = lines[min(line, len(lines)) - 1]
        raise ExpressionSyntaxError(f"ERROR: <input>:{line}:{column}: Syntax error\n | {shown}") from None
