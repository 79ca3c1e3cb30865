"""A definition as the API server keeps it, without empty texts, empty lists and the like.

The other checks of this package see definitions in this form only.
"""

from __future__ import annotations

from localkube.apiserver.jsonobj import Json, JsonObject

_MAYBE_EMPTY = frozenset({"$ref", "not", "items", "additionalItems", "additionalProperties", "externalDocs"})
"""Fields of a schema that count as given even when they are empty."""
_FREE = frozenset({"default", "example", "enum"})
"""Fields of a schema that hold values, not schemas."""
_KEPT = frozenset({"minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems"}) | frozenset(
    {"minProperties", "maxProperties", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type"}
    | {"x-kubernetes-map-type"}
)
_SCHEMA_LISTS = ("allOf", "anyOf", "oneOf")
_SCHEMA_MAPS = ("properties", "patternProperties", "definitions", "dependencies")
_SCHEMAS = ("not", "items", "additionalItems", "additionalProperties")


def canonical_spec(spec: JsonObject) -> None:
    """Bring a definition's ``spec`` into canonical form, in place."""
    names = spec.setdefault("names", {})
    _drop_empty(names)
    names.setdefault("plural", "")
    names.setdefault("kind", "")
    spec.setdefault("group", "")
    spec.setdefault("scope", "")
    if spec.get("preserveUnknownFields") is False:
        del spec["preserveUnknownFields"]
    for version in spec.get("versions") or []:
        version.setdefault("name", "")
        version.setdefault("served", False)
        version.setdefault("storage", False)
        _canonical_version(version)


def _canonical_version(version: JsonObject) -> None:
    if version.get("deprecated") is False:
        del version["deprecated"]
    for name in ("additionalPrinterColumns", "selectableFields"):
        if not version.get(name):
            version.pop(name, None)
    for column in version.get("additionalPrinterColumns") or []:
        _drop_empty(column)
        for name in ("name", "type", "jsonPath"):
            column.setdefault(name, "")
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if isinstance(schema, dict):
        canonical_schema(schema)


def _drop_empty(obj: JsonObject) -> None:
    for name in [name for name, value in obj.items() if value in ("", 0, [])]:
        del obj[name]


def canonical_schema(schema: JsonObject) -> None:
    """Bring a schema into canonical form, in place."""
    for name, value in list(schema.items()):
        if name in _FREE:
            if name == "enum" and not value:
                del schema[name]
        elif name not in _MAYBE_EMPTY and name not in _KEPT and not value:
            del schema[name]
    for rule in schema.get("x-kubernetes-validations") or []:
        for name in ("message", "messageExpression", "fieldPath"):
            if rule.get(name) == "":
                del rule[name]
        rule.setdefault("rule", "")
    for child in children(schema):
        canonical_schema(child)


def children(schema: JsonObject) -> list[JsonObject]:
    """Returns all schemas directly inside a schema, those of forbidden keywords too."""
    inside: list[Json] = []
    for name in _SCHEMA_LISTS:
        inside += schema.get(name) or []
    for name in _SCHEMA_MAPS:
        inside += (schema.get(name) or {}).values()
    for name in _SCHEMAS:
        value = schema.get(name)
        inside += value if isinstance(value, list) else [value]
    return [child for child in inside if isinstance(child, dict)]
