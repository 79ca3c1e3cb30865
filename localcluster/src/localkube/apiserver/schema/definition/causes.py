"""Field errors as the API server words them: ``Invalid value: "x": why``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def rendered(value: Json) -> str:
    """Returns a value as it stands in a message: texts in quotes, everything else as Go writes JSON."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return re.sub("[<>&]", lambda found: _ESCAPES[found[0]], text)


def invalid(path: str, value: Json, why: str) -> Cause:
    """Returns the cause for a value that breaks a rule."""
    return Cause(path, f"Invalid value: {rendered(value)}: {why}")


def required(path: str, why: str = "") -> Cause:
    """Returns the cause for a field that must be given."""
    return Cause(path, f"Required value: {why}" if why else "Required value", "FieldValueRequired")


def forbidden(path: str, why: str) -> Cause:
    """Returns the cause for a field that must not be given."""
    return Cause(path, f"Forbidden: {why}", "FieldValueForbidden")


def not_supported(path: str, value: Json, supported: Sequence[str]) -> Cause:
    """Returns the cause for a value outside an enumeration."""
    listed = ", ".join(rendered(item) for item in supported)
    return Cause(path, f"Unsupported value: {rendered(value)}: supported values: {listed}", "FieldValueNotSupported")


def duplicate(path: str, value: Json) -> Cause:
    """Returns the cause for a value that stands there twice."""
    return Cause(path, f"Duplicate value: {rendered(value)}", "FieldValueDuplicate")


def internal(path: str, why: str) -> Cause:
    """Something that the server cannot do with what it got."""
    return Cause(path, f"Internal error: {why}", "InternalError")
