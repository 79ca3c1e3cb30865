"""Paths to fields as rules name them: ``.spec.parts['a.b']``."""

from __future__ import annotations

import re

from localkube.apiserver.jsonobj import JsonObject

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]]+")
_ESCAPES = {
    "\\\\": "\\",
    "\\'": "'",
    "\\a": "\a",
    "\\b": "\b",
    "\\f": "\f",
    "\\n": "\n",
    "\\r": "\r",
    "\\t": "\t",
    "\\v": "\v",
}
_END = "unexpected end of JSON path"


def resolve(schema: JsonObject, path: str) -> tuple[str, JsonObject]:
    """Returns the path as errors show it, and the schema that it leads to; raises ValueError with what is wrong."""
    tokens = _TOKEN.findall(path)
    shown = ""
    position = 0
    while position < len(tokens):
        token = tokens[position]
        rest = tokens[position + 1 :]
        if token == "[":
            if not rest:
                raise ValueError(_END)
            if not re.fullmatch(r"'.*'", rest[0], re.DOTALL) or len(rest[0]) < 2:
                raise ValueError(f"expected single quoted string but got {rest[0]}")
            name = _unescaped(rest[0][1:-1])
            schema, part = _step(schema, name)
            if len(rest) < 2:
                raise ValueError(_END)
            if rest[1] != "]":
                raise ValueError(f"expected ] but got {rest[1]}")
            position += 3
        elif token == ".":
            if not rest:
                raise ValueError(_END)
            schema, part = _step(schema, rest[0])
            position += 2
        else:
            raise ValueError(f"expected [ or . but got: {token}")
        shown += part
    return shown, schema


def _unescaped(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        if found[0] not in _ESCAPES:
            raise ValueError(f"invalid string literal: unknown escape sequence {found[0]}")
        return _ESCAPES[found[0]]

    return re.sub(r"\\.", character, text)


def _step(schema: JsonObject, name: str) -> tuple[JsonObject, str]:
    properties, additional = schema.get("properties"), schema.get("additionalProperties")
    if properties:
        if name not in properties:
            raise ValueError("does not refer to a valid field")
        return properties[name], f".{name}"
    if isinstance(additional, dict):
        return additional, f"[{name}]"
    raise ValueError("does not refer to a valid field")
