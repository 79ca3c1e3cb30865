"""Durations and moments: reading and writing them, and their parts in a time zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from localkube.apiserver.schema.expressions.values import Duration, EvaluationError, Timestamp

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")
_SECOND = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration(text: str) -> Duration:
    """A duration such as ``1h30m``; raises ValueError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return Duration(0)
    if not re.fullmatch(f"(?:{_PART.pattern})+", rest):
        raise ValueError(text)
    nanos = 0
    for number, unit in _PART.findall(rest):
        whole, _, fraction = number.partition(".")
        nanos += int(whole or 0) * _UNITS[unit]
        nanos += int(fraction or 0) * _UNITS[unit] // 10 ** len(fraction)
    return Duration(sign * nanos)


def duration_text(value: Duration) -> str:
    """A duration in seconds, as CEL writes it."""
    sign, nanos = ("-" if value.nanos < 0 else ""), abs(value.nanos)
    fraction = f"{nanos % _SECOND:09}".rstrip("0")
    return f"{sign}{nanos // _SECOND}{'.' if fraction else ''}{fraction}s"


def parse_timestamp(text: str) -> Timestamp:
    """A moment as RFC 3339 has it; raises ValueError."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    whole = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    fraction = int((found[2] or ".0")[1:10].ljust(9, "0"))
    offset = whole.utcoffset() or timedelta()
    return Timestamp(round((whole - _EPOCH) / timedelta(seconds=1)) * _SECOND + fraction, round(offset.total_seconds()))


def timestamp_text(value: Timestamp) -> str:
    """A moment as RFC 3339 has it, in its time zone."""
    whole = _EPOCH + timedelta(seconds=value.nanos // _SECOND + value.offset_seconds)
    fraction = f"{value.nanos % _SECOND:09}".rstrip("0")
    sign, minutes = "-" if value.offset_seconds < 0 else "+", abs(value.offset_seconds) // 60
    zone = f"{sign}{minutes // 60:02}:{minutes % 60:02}" if minutes else "Z"
    return f"{whole:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}{zone}"


def _zone(name: str) -> tzinfo:
    found = re.fullmatch(r"([+-]?)(\d\d):(\d\d)", name)
    if found is not None:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(-offset if found[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise EvaluationError(f"unknown time zone {name}") from None


def _part(of: Callable[[datetime], int]) -> Callable[..., int]:
    def take(value: Timestamp, zone: str = "UTC") -> int:
        return of((_EPOCH + timedelta(microseconds=value.nanos // 1000)).astimezone(_zone(zone)))

    return take


def _part_or_length(of: Callable[[datetime], int], unit: int) -> Callable[..., int]:
    take = _part(of)

    def either(value: Any, *zone: str) -> int:
        return int(value.nanos / unit) if isinstance(value, Duration) else take(value, *zone)

    return either


GLOBALS: dict[str, Callable[..., Any]] = {}
METHODS: dict[str, Callable[..., Any]] = {
    "getFullYear": _part(lambda moment: moment.year),
    "getMonth": _part(lambda moment: moment.month - 1),
    "getDate": _part(lambda moment: moment.day),
    "getDayOfMonth": _part(lambda moment: moment.day - 1),
    "getDayOfWeek": _part(lambda moment: moment.isoweekday() % 7),
    "getDayOfYear": _part(lambda moment: moment.timetuple().tm_yday - 1),
    "getHours": _part_or_length(lambda moment: moment.hour, 3600 * _SECOND),
    "getMinutes": _part_or_length(lambda moment: moment.minute, 60 * _SECOND),
    "getSeconds": _part_or_length(lambda moment: moment.second, _SECOND),
    "getMilliseconds": _part_or_length(lambda moment: moment.microsecond // 1000, 10**6),
}
