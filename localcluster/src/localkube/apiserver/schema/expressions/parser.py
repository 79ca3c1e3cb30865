"""The parser of expressions: celpy's grammar, with the selection of optional fields and items added. Pure."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import celpy.celparser
import lark

_MEMBERS = "member         : member_dot |"
_WITH_OPTIONALS = "member         : member_optional_dot | member_optional_index | member_dot |"
_OPTIONALS = """
member_optional_dot   : member ".?" IDENT
member_optional_index : member "[?" expr "]"
"""


class ExpressionSyntaxError(Exception):
    """An expression is not one; the text says where and why."""


@functools.cache
def _parser() -> lark.Lark:
    grammar = (Path(celpy.celparser.__file__).parent / "cel.lark").read_text(encoding="utf-8")
    if _MEMBERS not in grammar:
        raise RuntimeError("the grammar of this cel-python has no rule that optional fields could be added to")
    return lark.Lark(
        grammar.replace(_MEMBERS, _WITH_OPTIONALS) + _OPTIONALS,
        parser="lalr",
        start="expr",
        lexer_callbacks={"IDENT": celpy.celparser.CELParser.ambiguous_literals},
        propagate_positions=True,
        maybe_placeholders=False,
        priority="invert",
    )


def parse_tree(source: str) -> lark.Tree[Any]:
    """The tree that the grammar gives; raises ExpressionSyntaxError."""
    try:
        return _parser().parse(source)
    except lark.exceptions.UnexpectedInput as error:
        line, column = max(error.line, 1), max(error.column, 1)
        lines = source.splitlines() or [""]
        shown = lines[min(line, len(lines)) - 1]
        raise ExpressionSyntaxError(f"ERROR: <input>:{line}:{column}: Syntax error\n | {shown}") from None
