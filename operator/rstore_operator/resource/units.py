"""Kubernetes quantities, durations, host names, addresses and timestamps as text."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]+)?")
_DURATION = re.compile(r"([0-9]+)(ms|s)")
PERIOD = "[1-9][0-9]{0,4}[hd]"
"""The pattern of a period of hours or days."""
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_BINARY = {name: Decimal(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}
_DECIMAL = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10) ** 3, "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9, "T": Decimal(10) ** 12, "P": Decimal(10) ** 15, "E": Decimal(10) ** 18,
}  # fmt: skip


def parse_quantity(text: object) -> Decimal:
    """The value of a Kubernetes quantity (``10Gi``, ``500m``, ``3``). Raises ValueError."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"{text!r} is not a quantity")
    match = _QUANTITY.fullmatch(str(text))
    if match is None or len(str(text)) > 32:
        raise ValueError(f"{text!r} is not a quantity such as 10Gi or 500m")
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    if suffix in _DECIMAL:
        return number * _DECIMAL[suffix]
    if suffix:
        exponent = int(suffix[1:])
        if abs(exponent) > 18:
            raise ValueError(f"{text!r} is not a quantity in the supported range")
        return number.scaleb(exponent)
    return number


def parse_duration_ms(text: object) -> int:
    """Milliseconds of a duration such as ``10ms`` or ``3s``. Raises ValueError."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) and len(text) <= 16 else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 10ms or 3s")
    return int(match[1]) * (1000 if match[2] == "s" else 1)


def parse_period_seconds(text: object) -> int:
    """Seconds of a period such as ``12h`` or ``30d``. Raises ValueError."""
    if not isinstance(text, str) or not re.fullmatch(PERIOD, text):
        raise ValueError(f"{text!r} is not a period such as 12h or 30d, of at most 99999")
    return int(text[:-1]) * (86_400 if text.endswith("d") else 3600)


def format_quantity(value: int) -> str:
    """A whole number as a quantity, in the largest binary unit that it is a multiple of."""
    units = (name for name, size in reversed(_BINARY.items()) if value and value % size == 0)
    unit = next(units, "")
    return f"{int(value / _BINARY[unit])}{unit}" if unit else str(value)


def format_duration_ms(milliseconds: int) -> str:
    """Milliseconds as a duration."""
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def is_ip_address(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_domain_name(text: str) -> bool:
    """Whether the text is a lower-case host or domain name: labels of at most 63 characters, 253 in all.

    One whose last label is a number would be read as an IPv4 address by many programs, and is none.
    """
    labels = text.split(".")
    return len(text) <= 253 and all(_DNS_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, for the times of steps."""
    return _in_utc(moment).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_time_seconds(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as conditions have it."""
    return _in_utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # on the first or the last day that there is
        return moment.replace(tzinfo=UTC)


def parse_time(text: object) -> datetime:
    """The time of an RFC 3339 text. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a time")
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is not a time in the supported range") from error


def format_lag(seconds: float) -> str:
    """A lag for people: ``0ms``, ``4ms``, ``2.5s``, ``3m``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    if seconds < 3600:
        return f"{round(seconds / 60)}m"
    return f"{seconds / 3600:.1f}h"
