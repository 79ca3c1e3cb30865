"""Helpers for validating built-in kinds. Pure."""

from __future__ import annotations

from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject
from rstore_devcluster.apiserver.schema.structural import shown

REQUIRED = "FieldValueRequired"
FORBIDDEN = "FieldValueForbidden"
UNSUPPORTED = "FieldValueNotSupported"
DUPLICATE = "FieldValueDuplicate"


def required(path: str, why: str = "") -> Cause:
    """A field that must be given."""
    return Cause(path, f"Required value: {why}" if why else "Required value", REQUIRED)


def immutable(path: str, value: Json) -> Cause:
    """A field that cannot change."""
    return Cause(path, f"Invalid value: {shown(value)}: field is immutable")


def unsupported(path: str, value: Json, supported: tuple[str, ...]) -> Cause:
    """A value outside an enumeration."""
    listed = ", ".join(f'"{item}"' for item in supported)
    return Cause(path, f"Unsupported value: {shown(value)}: supported values: {listed}", UNSUPPORTED)


def set_defaults(target: JsonObject, **defaults: Json) -> None:
    """Fill in fields that are missing or null."""
    for name, value in defaults.items():
        if target.get(name) is None:
            target[name] = value


def child(target: JsonObject, name: str) -> JsonObject:
    """The object at a field, put in place where it is missing."""
    held = target.get(name)
    if not isinstance(held, dict):
        held = {}
        target[name] = held
    return held
