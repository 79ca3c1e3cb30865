"""JSON merge patch (RFC 7386)."""

from __future__ import annotations

from localkube.apiserver.jsonobj import Json, copy_json


def merge_patch(target: Json, patch: Json) -> Json:
    """RFC 7386; returns a new value."""
    if not isinstance(patch, dict):
        return copy_json(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
