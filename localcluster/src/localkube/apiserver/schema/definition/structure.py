"""Whether a schema is structural: a type at every node, and junctors that only restrict values.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import re2

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.schema.definition.causes import forbidden, invalid, required

_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
# One of these must be given at every node.
_TYPE_OR = ("type", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
# Fields that must not stand inside a junctor, and what they must be instead.
_FORBIDDEN_INSIDE = {
    "type": "empty",
    "default": "undefined",
    "title": "empty",
    "description": "empty",
    "nullable": "false",
    "x-kubernetes-preserve-unknown-fields": "false",
    "x-kubernetes-embedded-resource": "false",
    "x-kubernetes-int-or-string": "false",
    "x-kubernetes-list-map-keys": "empty",
    "x-kubernetes-list-type": "undefined",
    "x-kubernetes-map-type": "undefined",
    "x-kubernetes-validations": "empty",
}


class Level(enum.Enum):
    """Where a schema stands, as messages name it."""

    ROOT = "at the root"
    ITEM = "for specified array items"
    FIELD = "for specified object fields"


def structural_causes(schema: JsonObject, path: str) -> list[Cause]:
    """Returns where a whole schema is not structural."""
    return [*_invariants(schema, Level.ROOT, path), *_completeness(schema, schema, path, path)]


def _invariants(schema: JsonObject, level: Level, path: str) -> Iterator[Cause]:
    kind, embedded = schema.get("type"), bool(schema.get("x-kubernetes-embedded-resource"))
    properties = schema.get("properties") or {}
    items, additional = schema.get("items"), schema.get("additionalProperties")
    if kind == "array" and items is None:
        yield required(f"{path}.items", "must be specified")
    if isinstance(items, dict):
        yield from _invariants(items, Level.ITEM, f"{path}.items")
    for name, child in properties.items():
        yield from _invariants(child, Level.FIELD, f"{path}.properties[{name}]")
    if additional is not None and level is Level.ROOT:
        yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if isinstance(additional, dict):
        yield from _invariants(additional, Level.FIELD, f"{path}.additionalProperties")
    yield from _extensions(schema, path)
    yield from _value_rules(schema, path, skip_any_of=schema.get("anyOf") == _INT_OR_STRING)
    yield from _type(schema, level, path)
    if embedded and additional is not None:
        yield forbidden(f"{path}.additionalProperties", "must not be used if x-kubernetes-embedded-resource is set")
    if level is Level.ROOT and kind and kind != "object":
        yield invalid(f"{path}.type", kind, "must be object at the root")
    yield from _type_and_metadata(properties, level, path, is_object=level is Level.ROOT or embedded)
    if embedded and not schema.get("x-kubernetes-preserve-unknown-fields") and not properties:
        why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        yield required(f"{path}.properties", why)


def _type(schema: JsonObject, level: Level, path: str) -> Iterator[Cause]:
    kind = schema.get("type")
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        why = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(f"{path}.type", kind, why) if kind else required(f"{path}.type", why)
    elif not any(schema.get(name) for name in _TYPE_OR):
        yield required(f"{path}.type", f"must not be empty {level.value}")


def _extensions(schema: JsonObject, path: str) -> Iterator[Cause]:
    if schema.get("x-kubernetes-int-or-string"):
        for name in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if schema.get(name):
                yield invalid(f"{path}.{name}", True, "must be false if x-kubernetes-int-or-string is true")


def _type_and_metadata(properties: JsonObject, level: Level, path: str, *, is_object: bool) -> Iterator[Cause]:
    """``apiVersion``, ``kind`` and ``metadata`` of a whole object, at the root or embedded."""
    for name in ("apiVersion", "kind"):
        if is_object and name in properties and properties[name].get("type") != "string":
            kind = properties[name].get("type") or ""
            yield invalid(f"{path}.properties[{name}].type", kind, "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    at = f"{path}.properties[metadata]"
    if is_object and metadata.get("type") != "object":
        yield invalid(f"{at}.type", metadata.get("type") or "", "must be object")
    if level is Level.ROOT:
        restricted = metadata.get("properties") or {}
        others = metadata.keys() - {"type", "default", "properties"}
        if others or not restricted.keys() <= {"name", "generateName"}:
            yield forbidden(
                at,
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            )


def _value_rules(schema: JsonObject, path: str, *, skip_any_of: bool = False) -> Iterator[Cause]:
    """Checks of values: patterns, and what stands inside junctors."""
    for junctor in _JUNCTORS:
        if junctor == "anyOf" and skip_any_of:
            continue
        for index, clause in enumerate(schema.get(junctor) or []):
            # The one exception for integers-or-strings that also have other rules: allOf, the first of which is anyOf.
            skip = junctor == "allOf" and index == 0 and clause.get("anyOf") == _INT_OR_STRING
            yield from _nested(clause, f"{path}.{junctor}[{index}]", skip_any_of=skip)
    if schema.get("not") is not None:
        yield from _nested(schema["not"], f"{path}.not")
    pattern = schema.get("pattern")
    if pattern:
        problem = pattern_problem(pattern)
        if problem:
            yield invalid(
                f"{path}.pattern",
                pattern,
                f"must be a valid regular expression, but isn't: error parsing regexp: {problem}",
            )


def pattern_problem(pattern: str) -> str:
    """Returns why a text is not a regular expression of RE2; empty when it is one."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else ""
        return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return ""


def _nested(clause: JsonObject, path: str, *, skip_any_of: bool = False) -> Iterator[Cause]:
    yield from _value_rules(clause, path, skip_any_of=skip_any_of)
    if isinstance(clause.get("items"), dict):
        yield from _nested(clause["items"], f"{path}.items")
    for name, child in (clause.get("properties") or {}).items():
        yield from _nested(child, f"{path}.properties[{name}]")
    if clause.get("additionalProperties") not in (None, False):
        yield forbidden(f"{path}.additionalProperties", "must be undefined to be structural")
    for name, wanted in _FORBIDDEN_INSIDE.items():
        if clause.get(name) or (name == "default" and name in clause):
            yield forbidden(f"{path}.{name}", f"must be {wanted} to be structural")
    if "metadata" in (clause.get("properties") or {}):
        yield forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _completeness(clause: JsonObject, outside: Json, outside_path: str, path: str) -> Iterator[Cause]:
    """Yields every field and item that a junctor at the root speaks of must be described outside of junctors as well.

    (Junctors further down are not held to that, in a real server either.)
    """
    clauses = [(f"{path}.not", clause["not"])] if clause.get("not") is not None else []
    clauses += [
        (f"{path}.{junctor}[{index}]", inner)
        for junctor in _JUNCTORS
        for index, inner in enumerate(clause.get(junctor) or [])
    ]
    for at, inner in clauses:
        yield from _nested_completeness(inner, outside, outside_path, at)


def _nested_completeness(clause: JsonObject, outside: Json, outside_path: str, path: str) -> Iterator[Cause]:
    if not isinstance(outside, dict):
        yield required(outside_path, f"because it is defined in {path}")
        return
    yield from _completeness(clause, outside, outside_path, path)
    if isinstance(clause.get("items"), dict):
        yield from _nested_completeness(clause["items"], outside.get("items"), f"{outside_path}.items", f"{path}.items")
    for name, child in (clause.get("properties") or {}).items():
        described = (outside.get("properties") or {}).get(name)
        yield from _nested_completeness(
            child, described, f"{outside_path}.properties[{name}]", f"{path}.properties[{name}]"
        )
