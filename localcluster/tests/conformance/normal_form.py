"""Answers in the form in which the recordings hold them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_PATH_PART = re.compile(r"\[\"[^\"]*\"\]|\[[^\]]*\]|[^.\[\]]+")


def without_bookmarks(events: Any) -> Any:
    """A watch's events without the bookmarks that may come at any time; the one that ends the initial events stays."""
    if not isinstance(events, list):
        return events
    return [event for event in events if event.get("type") != "BOOKMARK" or _INITIAL_EVENTS_END in str(event)]


def in_order(value: Any) -> Any:
    """An answer in which lists whose order means nothing (managed fields, causes) have a fixed one."""
    if isinstance(value, list):
        return [in_order(item) for item in value]
    if not isinstance(value, dict):
        return value
    ordered = {key: in_order(item) for key, item in value.items()}
    if isinstance(ordered.get("managedFields"), list):
        keys = ("operation", "manager", "subresource", "apiVersion")
        ordered["managedFields"].sort(key=lambda entry: [str(entry.get(key, "")) for key in keys])
    return _causes_in_order(ordered) if ordered.get("kind") == "Status" else ordered


def _causes_in_order(status: dict[str, Any]) -> dict[str, Any]:
    causes = (status.get("details") or {}).get("causes")
    if not isinstance(causes, list) or len(causes) < 2:
        return status
    message = str(status.get("message", ""))
    as_answered = _listed(causes)
    causes = sorted(causes, key=lambda cause: [str(cause.get(key, "")) for key in ("field", "reason", "message")])
    if message.endswith(f"[{as_answered}]"):
        message = f"{message[: -len(as_answered) - 2]}[{_listed(causes)}]"
    return {**status, "message": message, "details": {**status["details"], "causes": causes}}


def _listed(causes: list[dict[str, Any]]) -> str:
    return ", ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in causes)


def shape_of(value: Any) -> Any:
    """Types in the place of values; of a list its first item only."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    if isinstance(value, bool):
        return "<boolean>"
    if isinstance(value, int | float):
        return "<number>"
    return "<string>" if isinstance(value, str) else value


def look_up(value: Any, path: str) -> Any:
    """The value at a dotted path, None where there is nothing. ``[2]`` and ``[key=value]`` pick an item of a list,
    ``["a.b"]`` is a key with dots in it."""
    for part in _PATH_PART.findall(path):
        if not part.startswith("[") or part.startswith('["'):
            key = part[2:-2] if part.startswith("[") else part
            value = value.get(key) if isinstance(value, dict) else None
            continue
        items, inner = value if isinstance(value, list) else [], part[1:-1]
        key, equals, wanted = inner.partition("=")
        if equals:
            value = next((item for item in items if isinstance(item, dict) and item.get(key) == wanted), None)
        else:
            value = items[int(inner)] if int(inner) < len(items) else None
    return value


def only(value: Any, paths: Sequence[str]) -> dict[str, Any]:
    """Of an answer, the values at some paths."""
    return {path: look_up(value, path) for path in paths}
