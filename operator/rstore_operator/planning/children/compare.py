"""Whether a live object still is what we want, by the fields that we own only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rstore_api.domain.kubernetes import SPEC_HASH

from rstore_operator.resource.units import parse_quantity

_QUANTITY_PARENTS = frozenset({"requests", "limits", "emptyDir"})
_EXACT = frozenset({"selector", "matchLabels"})
"""Maps in which a key that somebody added changes the meaning of ours."""


def change_needed(desired: Mapping[str, Any], live: Mapping[str, Any]) -> str:
    """``update`` when we want it otherwise than when we wrote it, ``drift`` when somebody changed it, else ``""``."""
    wanted = desired["metadata"]["annotations"][SPEC_HASH]
    if live.get("metadata", {}).get("annotations", {}).get(SPEC_HASH) != wanted:
        return "update"
    return "" if covers(live, desired) else "drift"


def covers(live: object, desired: object, parent: str = "") -> bool:
    """Whether every field of ``desired`` is in ``live`` with the same value.

    Fields that the server or others added do not count, an empty value equals a missing one, and quantities are
    compared as numbers, since the server rewrites them.
    """
    if live == desired:
        return True
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            return live is None and not any(not _is_empty(value) for value in desired.values())
        if parent in _EXACT and set(live) != set(desired):
            return False
        return all(
            (_is_empty(value) and _is_empty(live.get(key)))
            or covers(live.get(key), value, parent if parent in _QUANTITY_PARENTS else key)
            for key, value in desired.items()
        )
    if isinstance(desired, list):
        if not isinstance(live, list) or len(live) != len(desired):
            return False
        return all(covers(one, other, parent) for one, other in zip(live, desired, strict=True))
    if parent in _QUANTITY_PARENTS:
        try:
            return parse_quantity(live) == parse_quantity(desired)
        except ValueError:
            return False
    return False


def _is_empty(value: object) -> bool:
    return value is None or value is False or value in ("", 0) or (isinstance(value, list | Mapping) and not value)
