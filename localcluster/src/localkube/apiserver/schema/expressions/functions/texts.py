"""Texts: searching, cutting, replacing, patterns of RE2, ``format``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import re2

from localkube.apiserver.schema.expressions.functions.conversions import number_text, string
from localkube.apiserver.schema.expressions.values import EvaluationError, is_number, type_name

_SPACE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace() and code not in range(0x1C, 0x20))
_QUOTED = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_CLAUSE = re.compile(r"%(?:%|(?:\.(?P<precision>\d+))?(?P<verb>[a-zA-Z]))")


@functools.lru_cache(maxsize=1024)
def _pattern(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        raise EvaluationError(f"error parsing regexp: {error}") from None


def _matches(text: str, pattern: str) -> bool:
    return _pattern(pattern).search(text) is not None


def _find(text: str, pattern: str) -> str:
    found = _pattern(pattern).search(text)
    return str(found[0]) if found is not None else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [str(match[0]) for match in _pattern(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise EvaluationError(f"index out of range: {index}")
    return text[index : index + 1]


def index_of(text: str, wanted: str, start: int = 0) -> int:
    """Where a text begins in another, from a place on; -1 for nowhere."""
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.find(wanted, start)


def last_index_of(text: str, wanted: str, start: int | None = None) -> int:
    """Where a text begins last in another, up to a place; -1 for nowhere."""
    if start is None:
        return text.rfind(wanted)
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.rfind(wanted, 0, start + len(wanted))


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    for index in (start, stop):
        if not 0 <= index <= len(text):
            raise EvaluationError(f"index out of range: {index}")
    if start > stop:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {stop}")
    return text[start:stop]


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    parts = text.split(separator) if separator else list(text)
    if 0 < limit < len(parts):
        parts = [*parts[: limit - 1], separator.join(parts[limit - 1 :])]
    return parts


def _ascii(text: str, *, upper: bool) -> str:
    return "".join((char.upper() if upper else char.lower()) if char.isascii() else char for char in text)


def _quote(text: str) -> str:
    return '"' + "".join(_QUOTED.get(char, char) for char in text) + '"'


def _format(text: str, arguments: list[Any]) -> str:
    rest = list(arguments)

    def clause(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if not rest:
            raise EvaluationError(f"index {len(arguments)} out of range")
        return _formatted(found["verb"], found["precision"], rest.pop(0))

    return _CLAUSE.sub(clause, text)


def _formatted(verb: str, precision: str | None, value: Any) -> str:
    if verb == "s":
        return _shown(value)
    if verb == "d" and is_number(value):
        return str(value) if isinstance(value, int) else number_text(value)
    if verb == "f" and is_number(value):
        return f"{value:.{precision or 6}f}"
    if verb == "e" and is_number(value):
        mantissa, exponent = f"{value:.{precision or 6}e}".split("e")
        return f"{mantissa}×10{exponent.removeprefix('+').translate(_RAISED)}"
    if verb in ("x", "X") and isinstance(value, (str, bytes)):
        data = (value.encode() if isinstance(value, str) else value).hex()
        return data.upper() if verb == "X" else data
    if verb in ("x", "X", "o", "b") and isinstance(value, int):
        return f"{int(value):{verb}}"
    raise EvaluationError(f"error during formatting: %{verb} cannot format a value of type '{type_name(value)}'")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{_shown(name)}: {_shown(item)}" for name, item in value.items())) + "}"
    return "null" if value is None else string(value)


GLOBALS: dict[str, Callable[..., Any]] = {"matches": _matches, "strings.quote": _quote}
METHODS: dict[str, Callable[..., Any]] = {
    "contains": lambda text, wanted: wanted in text,
    "startsWith": lambda text, wanted: text.startswith(wanted),
    "endsWith": lambda text, wanted: text.endswith(wanted),
    "matches": _matches,
    "find": _find,
    "findAll": _find_all,
    "charAt": _char_at,
    "substring": _substring,
    "split": _split,
    "replace": lambda text, old, new, count=-1: text.replace(old, new, count),
    "lowerAscii": functools.partial(_ascii, upper=False),
    "upperAscii": functools.partial(_ascii, upper=True),
    "trim": lambda text: text.strip(_SPACE),
    "format": _format,
}
