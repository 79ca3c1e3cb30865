"""Kubernetes quantities (``500m``, ``10Gi``): parsing, and the form in which the API server answers.

The rules are those of ``k8s.io/apimachinery/pkg/api/resource``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_PATTERN = re.compile(r"^([+-]?)([0-9]*)(?:(\.)([0-9]*))?(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+|)$", re.ASCII)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NANO = Decimal("1e-9")
_FAST_DIGITS = 18
SYNTAX = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@dataclass(frozen=True)
class _Parts:
    sign: str
    whole: str
    fraction: str
    suffix: str

    @property
    def digits(self) -> str:
        return self.whole + self.fraction

    @property
    def style(self) -> str:
        if self.suffix in _BINARY:
            return "binary"
        return "decimal" if self.suffix in _DECIMAL else "exponent"

    @property
    def exponent(self) -> int:
        """Returns the power of ten of the suffix."""
        return _DECIMAL[self.suffix] if self.suffix in _DECIMAL else int(self.suffix[1:])

    @property
    def value(self) -> Decimal:
        number = Decimal(f"{self.sign}{self.whole}.{self.fraction or '0'}")
        if self.style == "binary":
            return number * Decimal(1024 ** _BINARY[self.suffix])
        return number.scaleb(self.exponent)

    @property
    def kept(self) -> bool:
        """Returns whether the API server takes the text for canonical and gives it back as it came."""
        if self.style == "binary":
            power = _BINARY[self.suffix]
            room = 14 - len(self.whole) - power * 3
            return room >= 0 and not self.fraction and int(self.whole) & 7 != 0
        scale = self.exponent - len(self.fraction)
        if len(self.digits) > _FAST_DIGITS or scale < -9:
            return False
        return scale % 3 == 0 and not self.digits.endswith("000") and not self.digits.startswith("0")


def _split(text: str) -> _Parts:
    parts = _PATTERN.match(text)
    if parts is None or not (parts[2] or parts[4]):
        raise ValueError(SYNTAX)
    return _Parts(parts[1], parts[2].lstrip("0") or "0", parts[4] or "", parts[5])


def parse(text: str) -> Decimal:
    """Returns the value of a quantity; raises ValueError."""
    return _split(text).value


def canonical(value: str | int | float, *, milli: bool = False) -> str:
    """Returns the form in which the API server shows a quantity: as given where that is canonical enough, else with no
    fraction and the largest suffix that allows it. ``milli``: rounded up to thousandths, as resources of containers
    are. Raises ValueError."""
    text = str(value).strip()
    if text == "0":
        return text
    parts = _split(text)
    amount = parts.value
    finest = Decimal("1e-3") if milli else _NANO
    fine = amount == amount.quantize(finest) if amount.adjusted() < 18 else True
    if parts.kept and (fine or not milli):
        return text
    if not fine:
        amount = amount.quantize(finest, rounding=ROUND_CEILING if amount > 0 else ROUND_FLOOR)
    if amount == 0:
        return "0"
    style = parts.style
    if style == "binary":
        if amount == amount.to_integral_value() and abs(amount) >= 1024:
            whole = int(amount)
            for suffix, power in reversed(_BINARY.items()):
                if whole % 1024**power == 0:
                    return f"{whole // 1024**power}{suffix}"
            return str(whole)
        style = "decimal"
    nanos = int(amount.scaleb(9))
    for suffix, power in reversed(_DECIMAL.items()):
        unit = 10 ** (power + 9)
        if nanos % unit == 0:
            if style == "exponent":
                return f"{nanos // unit}e{power}" if power else str(nanos // unit)
            return f"{nanos // unit}{suffix}"
    raise ValueError(SYNTAX)
