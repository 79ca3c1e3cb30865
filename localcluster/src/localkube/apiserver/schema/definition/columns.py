"""Printer columns and the scale subresource: paths, types and formats."""

from __future__ import annotations

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema.definition.causes import invalid, required

_TYPES = ("boolean", "date", "integer", "number", "string")
_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")


def column_causes(column: JsonObject, path: str) -> list[Cause]:
    """Returns what is wrong with one printer column. A path is only looked at as far as its first character."""
    causes = []
    if not column["name"]:
        causes.append(required(f"{path}.name"))
    types = f"must be one of {','.join(_TYPES)}"
    if not column["type"]:
        causes.append(required(f"{path}.type", types))
    elif column["type"] not in _TYPES:
        causes.append(invalid(f"{path}.type", column["type"], types))
    if column.get("format") and column["format"] not in _FORMATS:
        causes.append(invalid(f"{path}.format", column["format"], f"must be one of {','.join(_FORMATS)}"))
    return causes + _path_causes(column["jsonPath"], f"{path}.JSONPath")


def _path_causes(text: str, path: str) -> list[Cause]:
    if not text:
        return [required(path)]
    if not text.startswith("."):
        return [invalid(path, text, "must be a simple json path starting with .")]
    return []


def subresource_causes(subresources: JsonObject | None, path: str) -> list[Cause]:
    """Returns what is wrong with the paths of the scale subresource."""
    scale = (subresources or {}).get("scale")
    if scale is None:
        return []
    causes = []
    for field, roots, why in (
        ("specReplicasPath", (".spec.",), "should be a json path under .spec"),
        ("statusReplicasPath", (".status.",), "should be a json path under .status"),
        ("labelSelectorPath", (".spec.", ".status."), "should be a json path under either .spec or .status"),
    ):
        text, at = scale.get(field) or "", f"{path}.scale.{field}"
        if not text and field == "labelSelectorPath":
            continue
        problems = _path_causes(text, at)
        if not problems and not text.startswith(roots):
            problems = [invalid(at, text, why)]
        causes += problems
    return causes
