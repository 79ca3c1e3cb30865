"""Texts and bytes as they are written in expressions: quotes, raw texts and escapes. Pure.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#string-and-bytes-values
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def text_of(source: str) -> str:
    """The text of a literal with its quotes."""
    body, raw = _body(source)
    return body if raw else _ESCAPE.sub(lambda found: chr(_code(found)) if found[5] is None else _named(found), body)


def bytes_of(source: str) -> bytes:
    """The bytes of a literal with its quotes and its b: escapes by number are bytes, everything else is UTF-8."""
    body, raw = _body(re.sub("[bB]", "", source, count=1))
    if raw:
        return body.encode()
    made, position = b"", 0
    for found in _ESCAPE.finditer(body):
        made += body[position : found.start()].encode()
        by_number = found[1] is not None or found[4] is not None
        made += bytes([_code(found) & 0xFF]) if by_number else _escaped(found).encode()
        position = found.end()
    return made + body[position:].encode()


def _body(source: str) -> tuple[str, bool]:
    raw = source[:1] in "rR"
    quoted = source[1:] if raw else source
    width = 3 if quoted[:3] in ('"""', "'''") else 1
    return quoted[width:-width], raw


def _escaped(found: re.Match[str]) -> str:
    return _named(found) if found[5] is not None else chr(_code(found))


def _named(found: re.Match[str]) -> str:
    return _NAMED.get(found[5], found[5])


def _code(found: re.Match[str]) -> int:
    return int(found[4], 8) if found[4] is not None else int(found[1] or found[2] or found[3], 16)
