"""What a schema declares to its rules: types, names of fields, and the most that values can hold."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema.expressions import types
from localkube.apiserver.schema.expressions.types import Kind, Type

MAX_REQUEST_BYTES = 3 * 1024 * 1024
_RESERVED = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"}
    | {"let", "loop", "package", "namespace", "return", "var", "void", "while"}
)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_STRING = {"type": "string"}
_WHOLE_OBJECT: JsonObject = {
    "apiVersion": _STRING,
    "kind": _STRING,
    "metadata": {"type": "object", "properties": {"name": _STRING, "generateName": _STRING}},
}
# Formats of texts with a type of their own: type, least and most bytes in JSON.
_FORMATS = {
    "duration": (types.DURATION, 3, 32),
    "date": (types.TIMESTAMP, 12, 12),
    "date-time": (types.TIMESTAMP, 21, 32),
}
_TEXT_BYTES = 2
_NO_LIMIT = MAX_REQUEST_BYTES - 2


@dataclass(frozen=True, eq=False)
class Declared:
    """The values at one place of a schema."""

    kind: Kind
    least_bytes: int
    """The least that a value takes in JSON."""
    most_elements: int = 0
    """The most bytes of a text, items of a list or entries of a map."""
    element: Declared | None = None
    key: Declared | None = None
    fields: dict[str, Declared] = field(default_factory=dict)

    @property
    def type(self) -> Type:
        """Returns the type that expressions see."""
        if self.kind is Kind.LIST and self.element is not None:
            return types.list_of(self.element.type)
        if self.kind is Kind.MAP and self.element is not None:
            return types.map_of(types.STRING, self.element.type)
        return Type(self.kind, declared=self) if self.kind is Kind.OBJECT else Type(self.kind)


@functools.lru_cache(maxsize=4096)
def escaped(name: str) -> str | None:
    """Returns a property's name in expressions, None for one that cannot be named."""
    if not name or name[0].isdigit() or not re.fullmatch(r"[a-zA-Z0-9_./-]+", name):
        return None
    if name in _RESERVED:
        return f"__{name}__"
    return re.sub(r"__|[-./]", lambda found: _ESCAPES[found[0]], name)


def declare(schema: JsonObject, *, whole_object: bool = False) -> Declared | None:
    """Returns what a schema declares; None for one whose values rules cannot see.

    ``whole_object``: at the root of a custom resource or of an embedded object, where ``metadata.name`` can be seen.
    """
    if schema.get("x-kubernetes-int-or-string"):
        most = _text_limit(schema) if "maxLength" in schema else _NO_LIMIT
        return Declared(Kind.DYN, 1, most)
    kind = schema.get("type")
    if kind == "array":
        return _list(schema)
    if kind == "object":
        return _object(schema, whole_object=whole_object)
    if kind == "string":
        return _text(schema)
    if kind == "boolean":
        return Declared(Kind.BOOL, 4)
    if kind in ("number", "integer"):
        return Declared(Kind.DOUBLE if kind == "number" else Kind.INT, 1)
    return None


def _child(schema: JsonObject) -> Declared | None:
    return declare(schema, whole_object=bool(schema.get("x-kubernetes-embedded-resource")))


def _list(schema: JsonObject) -> Declared | None:
    items = schema.get("items")
    element = _child(items) if isinstance(items, dict) else None
    if element is None:
        return None
    most = schema.get("maxItems")
    limit = _NO_LIMIT // (element.least_bytes + 1) if most is None else max(0, most)
    return Declared(Kind.LIST, 2, limit, element=element)


def _object(schema: JsonObject, *, whole_object: bool) -> Declared | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        element = _child(additional)
        if element is None:
            return None
        most = schema.get("maxProperties")
        limit = _NO_LIMIT // (element.least_bytes + 6) if most is None else max(0, most)
        return Declared(Kind.MAP, 2, limit, element=element, key=Declared(Kind.STRING, _TEXT_BYTES, 0))
    properties = schema.get("properties") or {}
    if whole_object and not _describes_whole_object(properties):
        properties = {**properties, **_WHOLE_OBJECT}
    required = schema.get("required") or []
    fields: dict[str, Declared] = {}
    least = 2
    for name, child in properties.items():
        declared = _child(child)
        if declared is None:
            continue
        shown = escaped(name)
        if shown is not None:
            fields[shown] = declared
        if name in required and child.get("default") is None:
            least += len(name.encode()) + declared.least_bytes + 4
    return Declared(Kind.OBJECT, least, fields=fields)


def _describes_whole_object(properties: JsonObject) -> bool:
    metadata = properties.get("metadata") or {}
    named = {**properties, **{f"metadata.{name}": child for name, child in (metadata.get("properties") or {}).items()}}
    texts = ("apiVersion", "kind", "metadata.name", "metadata.generateName")
    return metadata.get("type") == "object" and all((named.get(name) or {}).get("type") == "string" for name in texts)


def _text(schema: JsonObject) -> Declared:
    text_format = schema.get("format")
    if text_format in _FORMATS:
        kind, least, most = _FORMATS[text_format]
        return Declared(kind.kind, least, most)
    if text_format == "byte":
        most = max(0, schema["maxLength"]) if "maxLength" in schema else _NO_LIMIT
        return Declared(Kind.BYTES, _TEXT_BYTES, most)
    if "maxLength" in schema:
        most = _text_limit(schema)
    elif schema.get("enum"):
        most = max((len(item.encode()) for item in schema["enum"] if isinstance(item, str)), default=0)
    else:
        most = _NO_LIMIT
    return Declared(Kind.STRING, _TEXT_BYTES, most)


def _text_limit(schema: JsonObject) -> int:
    """Returns the most bytes of a text: a character takes up to four."""
    return int(max(0, schema["maxLength"])) * 4
