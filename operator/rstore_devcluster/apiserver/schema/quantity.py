"""Kubernetes quantities (``500m``, ``10Gi``): parsing and the canonical form the API server answers with. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

_PATTERN = re.compile(r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+|)$")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
SYNTAX = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def parse(text: str) -> Decimal:
    """The value of a quantity; raises ValueError."""
    return _split(text)[0]


def _split(text: str) -> tuple[Decimal, str]:
    found = _PATTERN.match(text)
    if found is None:
        raise ValueError(SYNTAX)
    number, suffix = Decimal(found[1]), found[2]
    if suffix in _BINARY:
        return number * (1024 ** _BINARY[suffix]), "binary"
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix]), "decimal"
    return number.scaleb(int(suffix[1:])), "exponent"


def canonical(value: str | int | float) -> str:
    """The canonical form: no fraction, the largest suffix that allows it; raises ValueError."""
    amount, style = _split(str(value))
    if amount == 0:
        return "0"
    if style == "binary" and amount == amount.to_integral_value():
        whole = int(amount)
        for suffix, power in reversed(_BINARY.items()):
            if whole % 1024**power == 0:
                return f"{whole // 1024**power}{suffix}"
        return str(whole)
    if style == "binary":
        style = "decimal"
    nanos = int((amount.scaleb(9)).to_integral_value(rounding="ROUND_UP"))
    for suffix, power in reversed(_DECIMAL.items()):
        unit = 10 ** (power + 9)
        if nanos % unit == 0:
            if style == "exponent":
                return f"{nanos // unit}e{power}" if power else str(nanos // unit)
            return f"{nanos // unit}{suffix}"
    raise ValueError(SYNTAX)
