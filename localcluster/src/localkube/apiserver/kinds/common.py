"""Helpers for the defaults of built-in kinds."""

from __future__ import annotations

from localkube.apiserver.jsonobj import Json, JsonObject


def set_defaults(target: JsonObject, **defaults: Json) -> None:
    """Fill in fields that are missing or null."""
    for name, value in defaults.items():
        if target.get(name) is None:
            target[name] = value


def child(target: JsonObject, name: str) -> JsonObject:
    """Returns the object at a field, put in place where it is missing."""
    present = target.get(name)
    if not isinstance(present, dict):
        present = {}
        target[name] = present
    return present
