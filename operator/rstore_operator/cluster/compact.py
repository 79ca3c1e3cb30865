"""Bodies of objects as they are kept: thousands of them, of which each was decoded by itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def compact(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of an object's body whose keys are shared with all other copies, without ``managedFields``: those
    are a third of an object, and nobody asks who set a field of a child."""
    copied: dict[str, Any] = {sys.intern(key): _copied(value) for key, value in body.items()}
    copied.get("metadata", {}).pop("managedFields", None)
    return copied


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {sys.intern(key): _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
