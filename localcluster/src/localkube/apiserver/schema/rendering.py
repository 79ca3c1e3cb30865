"""Values as the API server's messages show them: texts in quotes, numbers plainly, objects and lists as JSON."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal

from localkube.apiserver.jsonobj import Json

_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_QUOTED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_QUOTED |= {'"': '\\"', "\\": "\\\\"}


def shown(value: Json) -> str:
    """Returns a value as error messages show it."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float):
        return number_text(value)
    return json_text(value)


def quoted(text: str) -> str:
    """Returns a text in double quotes, with escapes for what cannot be printed."""
    return f'"{"".join(_QUOTED.get(character) or _printable(character) for character in text)}"'


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def number_text(value: float) -> str:
    """Returns a number as it stands in texts: ``0.5``, ``1e+06``; a whole one has no fraction."""
    if isinstance(value, int):
        return str(value)
    return _float_text(value, -4, 6)


def _float_text(value: float, low: int, high: int) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    digits = Decimal(repr(value))
    exponent = digits.adjusted() if value else 0
    if low <= exponent < high:
        text = format(digits, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa = format(digits.scaleb(-exponent), "f")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def json_text(value: Json) -> str:
    """Returns a value as compact JSON, as Go writes it: keys sorted, ``<``, ``>`` and ``&`` escaped."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_text(key)}:{json_text(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(json_text(item) for item in value) + "]"
    if isinstance(value, float):
        return _float_text(value, -6, 21)
    return re.sub("[<>&\u2028\u2029]", lambda match: _HTML[match[0]], json.dumps(value, ensure_ascii=False))


def plain(value: Json) -> str:
    """Returns a value as it stands in the middle of a text."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{plain(value[key])}' for key in sorted(value))}]"
    return f"[{' '.join(map(plain, value))}]" if isinstance(value, list) else str(value)
