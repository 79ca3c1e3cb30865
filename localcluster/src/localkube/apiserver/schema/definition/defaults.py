"""Defaults must be valid where they stand, as they are written, and hold nothing that would be pruned."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject, copy_json
from localkube.apiserver.schema import cel
from localkube.apiserver.schema.definition.causes import invalid, required
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.pruning import prune
from localkube.apiserver.schema.structural import structure_causes

_META = frozenset({"apiVersion", "kind", "metadata"})
_EMBEDDED = "x-kubernetes-embedded-resource"
_DUPLICATE = "FieldValueDuplicate"


def default_causes(schema: JsonObject, path: str) -> list[Cause]:
    """Returns what is wrong with the defaults anywhere in a structural schema; values of maps are not looked at."""
    return list(_walk({**schema, _EMBEDDED: True}, path))


def _walk(schema: JsonObject, path: str) -> Iterator[Cause]:
    default = schema.get("default")
    if default is not None:
        yield from _check(schema, default, f"{path}.default")
    if isinstance(schema.get("items"), dict):
        yield from _walk(schema["items"], f"{path}.items")
    for name, child in (schema.get("properties") or {}).items():
        if not (schema.get(_EMBEDDED) and name in _META):
            yield from _walk(child, f"{path}.properties[{name}]")


def _check(schema: JsonObject, default: Json, path: str) -> Iterator[Cause]:
    node = Node(schema)
    if prune(node, copy_json(default), root=False):
        yield invalid(path, default, "must not have unknown fields")
    embedded = list(_embedded(schema, default, path))
    if embedded:
        yield from embedded
        return
    # A set with an item twice passes: lists are compared with their type only where they are used.
    causes = [cause for cause in structure_causes(node, default, root=False, base=path) if cause.reason != _DUPLICATE]
    yield from causes or _rule_causes(node, default, path)


def _rule_causes(node: Node, default: Json, path: str) -> list[Cause]:
    """Returns what rules say of a default: first as a value that stays as it is, then as a new one."""
    kept = cel.check(node, default, default, path, root=False)
    return [*kept.refused, *kept.warned] or cel.check(node, default, path=path, root=False).refused


def _embedded(schema: JsonObject, value: Json, path: str) -> Iterator[Cause]:
    """Whole objects inside a default say what they are."""
    if isinstance(value, dict):
        if schema.get(_EMBEDDED):
            for name in ("apiVersion", "kind"):
                if name not in value:
                    yield required(f"{path}.{name}")
                elif not isinstance(value[name], str):
                    yield invalid(f"{path}.{name}", value[name], "must be a string")
            if not isinstance(value.get("metadata", {}), dict):
                yield invalid(f"{path}.metadata", value["metadata"], "must be an object")
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, item in value.items():
            child = properties.get(name, additional)
            if isinstance(child, dict):
                yield from _embedded(child, item, f"{path}.{name}")
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from _embedded(schema["items"], item, f"{path}[{index}]")
