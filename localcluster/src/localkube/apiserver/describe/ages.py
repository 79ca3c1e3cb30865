"""How long ago something was, as kubectl shows it."""

from __future__ import annotations

from datetime import datetime

from localkube.apiserver.jsonobj import JsonObject, parse_time


def age(since: str | None, now: datetime) -> str:
    """Returns how long ago, as kubectl shows it: ``42s``, ``5m3s``, ``3h``, ``12d``."""
    if not since:
        return "<unknown>"
    seconds = int((now - parse_time(since)).total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return f"{years}y{rest}d" if years < 8 and rest else f"{years}y"


def age_of(obj: JsonObject, now: datetime) -> str:
    """Returns how long ago an object was made."""
    return age(obj["metadata"].get("creationTimestamp"), now)
