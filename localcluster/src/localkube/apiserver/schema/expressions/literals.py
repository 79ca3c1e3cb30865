"""Texts as they are written in expressions: quotes, raw texts and escapes.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#string-and-bytes-values
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def text_of(source: str) -> str:
    """Returns the text of a literal with its quotes."""
    raw = source[:1] in "rR"
    quoted = source[1:] if raw else source
    width = 3 if quoted[:3] in ('"""', "'''") else 1
    body = quoted[width:-width]
    return body if raw else _ESCAPE.sub(_escaped, body)


def _escaped(escape: re.Match[str]) -> str:
    if escape[5] is not None:
        return _NAMED.get(escape[5], escape[5])
    return chr(int(escape[4], 8) if escape[4] is not None else int(escape[1] or escape[2] or escape[3], 16))
