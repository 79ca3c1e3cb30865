"""What a custom resource's values must be: its schema, objects inside it, lists by key, its scale, rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject, lookup
from localkube.apiserver.objects.metadata import content_causes
from localkube.apiserver.resources import Resource
from localkube.apiserver.schema import cel
from localkube.apiserver.schema.formats import dns_1035_label
from localkube.apiserver.schema.limits import type_name
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.rendering import plain, shown
from localkube.apiserver.schema.structural import ABSENT, NOWHERE, duplicate_causes, structure_causes

_MAX_REPLICAS = 2**31 - 1
_BLOCKING = frozenset(
    {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
)
_UNCHECKED = Cause(
    NOWHERE,
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)


def validate_custom(
    resource: Resource, node: Node, obj: JsonObject, old: JsonObject | None, subresource: str
) -> cel.Findings:
    """Returns everything wrong with a custom resource. Rules are checked only when types and required fields are right.

    Of a write to ``status`` the schema of the status alone is checked, and every rule.
    """
    status = subresource == "status"
    before = ABSENT if old is None else old
    if not status:
        causes = structure_causes(node, obj, old=before) + _metadata_causes(resource, obj, old)
    elif (status_node := node.field("status")) is not None and "status" in obj:
        earlier = old["status"] if old is not None and "status" in old else ABSENT
        causes = structure_causes(status_node, obj["status"], root=False, old=earlier, base="status")
    else:
        causes = []
    causes += _scale_causes(resource, obj, status_only=status)
    causes += _embedded_causes(node, obj)
    if old is None or next(duplicate_causes(node, old), None) is None:
        causes += duplicate_causes(node, obj)
    if not cel.has_rules(resource.schema):
        return cel.Findings(causes)
    if any(cause.reason in _BLOCKING for cause in causes):
        return cel.Findings([*causes, _UNCHECKED])
    findings = cel.check(node, obj, before)
    return cel.Findings(causes + findings.refused, findings.warned)


def _metadata_causes(resource: Resource, obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """Returns what the schema restricts of metadata: the name and generateName."""
    restricted = lookup(resource.schema, "properties", "metadata")
    if not isinstance(restricted, dict) or not restricted.get("properties"):
        return []
    before = ABSENT if old is None else old["metadata"]
    return structure_causes(Node(restricted), obj["metadata"], "metadata", root=False, old=before)


def _scale_causes(resource: Resource, obj: JsonObject, *, status_only: bool) -> Iterator[Cause]:
    """Yields what the paths of the scale subresource find: replicas from 0 to the largest int32, a selector that is a
    text."""
    if "scale" not in resource.subresources:
        return
    spec_path, status_path, selector_path = resource.scale_paths
    for path in (status_path,) if status_only else (spec_path, status_path):
        replicas, problem = value_at(obj, path, "integer")
        if problem is not None:
            yield Cause(path, f"Invalid value: 0: {problem}")
        elif replicas is not None and replicas < 0:
            yield Cause(path, f"Invalid value: {replicas}: should be a non-negative integer")
        elif replicas is not None and replicas > _MAX_REPLICAS:
            yield Cause(path, f"Invalid value: {replicas}: should be less than or equal to {_MAX_REPLICAS}")
    if selector_path:
        _, problem = value_at(obj, selector_path, "string")
        if problem is not None:
            wrong = '""' if selector_path.startswith(".status.") else shown(selector_path)
            yield Cause(selector_path, f"Invalid value: {wrong}: {problem}")


_GO_TYPES = {
    "object": "map[string]interface {}",
    "array": "[]interface {}",
    "string": "string",
    "integer": "int64",
    "number": "float64",
    "boolean": "bool",
    "null": "<nil>",
}


def value_at(obj: JsonObject, path: str, kind: str) -> tuple[Json, str | None]:
    """Returns the value at a path such as ``.spec.replicas`` (None where there is none), and why it cannot be read."""
    steps = path.removeprefix(".").split(".")
    value: Json = obj
    for index, step in enumerate(steps):
        if value is None:
            return None, None
        if not isinstance(value, dict):
            return None, _accessor_error(steps[: index + 1], value, "map[string]interface{}")
        if step not in value:
            return None, None
        value = value[step]
    whole = isinstance(value, int) and not isinstance(value, bool) and type_name(value) == "integer"
    if not (whole if kind == "integer" else isinstance(value, str)):
        return None, _accessor_error(steps, value, "int64" if kind == "integer" else "string")
    return value, None


def _accessor_error(steps: list[str], value: Json, expected: str) -> str:
    at = "." + ".".join(steps)
    return f"{at} accessor error: {plain(value)} is of the type {_GO_TYPES[type_name(value)]}, expected {expected}"


def _embedded_causes(node: Node, value: Json, path: str = "") -> Iterator[Cause]:
    """Yields what is wrong with objects inside the object: their apiVersion, kind and metadata."""
    if isinstance(value, dict):
        if node.embedded and path:
            yield from _whole_object_causes(value, path)
        for name, item in value.items():
            declared = node.field(name)
            child = declared or node.additional
            if child is not None and not (name == "metadata" and (node.embedded or not path)):
                at = f"{path}.{name}" if path else name
                yield from _embedded_causes(child, item, at if declared else f"{path}[{name}]")
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            yield from _embedded_causes(node.items, item, f"{path}[{index}]")


def _whole_object_causes(value: JsonObject, path: str) -> Iterator[Cause]:
    for name in ("apiVersion", "kind"):
        text, at = value.get(name), f"{path}.{name}"
        if name not in value:
            continue
        if not isinstance(text, str):
            yield Cause(at, f"Invalid value: {shown(text)}: must be a string")
        elif not text:
            yield Cause(at, 'Invalid value: "": must not be empty')
        elif name == "apiVersion" and text.count("/") > 1:
            yield Cause(at, f"Invalid value: {shown(text)}: unexpected GroupVersion string: {text}")
        elif name == "kind" and (problems := dns_1035_label(text.lower())):
            why = f"may have mixed case, but should otherwise match: {','.join(problems)}"
            yield Cause(at, f"Invalid value: {shown(text)}: {why}")
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return
    if re.search("[/%]", str(metadata.get("name") or "")):
        yield Cause(f"{path}.metadata.name", f"Invalid value: {shown(metadata['name'])}: may not contain '/' or '%'")
    yield from (Cause(f"{path}.{cause.field}", cause.message, cause.reason) for cause in content_causes(metadata))
