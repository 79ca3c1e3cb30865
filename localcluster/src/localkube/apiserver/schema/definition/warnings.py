"""What a definition is accepted with, but warned of: formats that check nothing."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema.definition.canonical import children
from localkube.apiserver.schema.definition.sections import sections_of

_TEXT_FORMATS = frozenset(
    {"bsonobjectid", "uri", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "uuid", "uuid3", "uuid4", "uuid5"}
    | {"isbn", "isbn10", "isbn13", "creditcard", "ssn", "hexcolor", "rgbcolor", "byte", "password", "date", "duration"}
    | {"datetime", "k8sshortname", "k8slongname"}
)
_NUMBER_FORMATS = {"integer": ("int32", "int64"), "number": ("float", "double")}


def recognized(kind: str, text: str) -> bool:
    """Returns whether values of a type are checked for a format."""
    if kind in ("", "string"):
        return text.replace("-", "") in _TEXT_FORMATS
    return text in _NUMBER_FORMATS.get(kind, ())


def definition_warnings(obj: JsonObject, old: JsonObject | None) -> list[str]:
    """Warnings for what a definition brings in: on an update only for what the old one did not have."""
    before = set(_warnings(old["spec"])) if old is not None else set()
    return [warning for warning in _warnings(obj["spec"]) if warning not in before]


def _warnings(spec: JsonObject) -> list[str]:
    schemas = [
        schema
        for section in [*sections_of(spec)[-1:], *sections_of(spec)[:-1]]
        for schema in _all_schemas((section.schema or {}).get("openAPIV3Schema"))
    ]
    return [
        f'unrecognized format "{schema["format"]}"'
        for schema in schemas
        if schema.get("format") and not recognized(schema.get("type") or "", schema["format"])
    ]


def _all_schemas(schema: JsonObject | None) -> Iterator[JsonObject]:
    if schema is None:
        return
    yield schema
    for child in children(schema):
        yield from _all_schemas(child)
