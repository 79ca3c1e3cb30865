"""All checks of one schema of a definition, from its root down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema.definition.canonical import children
from localkube.apiserver.schema.definition.causes import invalid
from localkube.apiserver.schema.definition.cost import Total
from localkube.apiserver.schema.definition.defaults import default_causes
from localkube.apiserver.schema.definition.keywords import (
    keyword_causes,
    root_causes,
    unstructural_keyword,
)
from localkube.apiserver.schema.definition.lists import list_and_map_causes
from localkube.apiserver.schema.definition.rules import Scope, expression_causes, part_causes
from localkube.apiserver.schema.definition.structure import structural_causes

_META = frozenset({"apiVersion", "kind", "metadata"})
_EMBEDDED = "x-kubernetes-embedded-resource"


def schema_causes(schema: JsonObject, path: str, *, has_status: bool) -> list[Cause]:
    """Returns what is wrong with the schema of a version. Rules are only compiled when the rest of the schema is
    right."""
    causes = list(root_causes(schema, path, has_status=has_status))
    unstructural = _unstructural(schema)
    problems = []
    if not unstructural:
        problems = structural_causes(schema, path) or default_causes(schema, path)
    total = Total()
    scope = None if unstructural or problems else Scope(total)
    findings = _check(schema, _Place(path, scope, root=True))
    causes += [*problems, *findings.schema, *findings.rules]
    if not causes and unstructural:
        causes.append(invalid(path, "", "OpenAPIV3Schema 'schema' is not supported"))
    return causes + total.causes(path)


def _unstructural(schema: JsonObject) -> bool:
    return unstructural_keyword(schema) or any(_unstructural(child) for child in children(schema))


@dataclass(frozen=True)
class _Place:
    path: str
    scope: Scope | None
    """None where rules are not compiled: inside junctors, and when the schema is wrong."""
    root: bool = False
    inside_meta: bool = False
    no_default: str | None = None
    uncorrelatable: str | None = None


@dataclass
class _Findings:
    schema: list[Cause] = field(default_factory=list)
    rules: list[Cause] = field(default_factory=list)

    def include(self, other: _Findings) -> None:
        self.schema += other.schema
        self.rules += other.rules


def _check(schema: JsonObject, place: _Place) -> _Findings:
    path = place.path
    findings = _Findings()
    findings.schema += keyword_causes(schema, path, no_default=place.no_default, inside_meta=place.inside_meta)
    for child, at in _inside(schema, place):
        findings.include(_check(child, at))
    findings.schema += list_and_map_causes(schema, path)
    findings.schema += part_causes(schema, path)
    if not findings.schema and place.scope is not None:
        findings.rules += expression_causes(
            schema,
            path,
            place.scope,
            whole_object=place.root or bool(schema.get(_EMBEDDED)),
            uncorrelatable=place.uncorrelatable,
        )
    return findings


def _inside(schema: JsonObject, place: _Place) -> list[tuple[JsonObject, _Place]]:
    path = place.path
    inner = replace(place, root=False, scope=place.scope.inside(schema) if place.scope is not None else None)
    causes = []
    additional, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(additional, dict):
        why = "inside additionalProperties applying to object metadata" if place.inside_meta else place.no_default
        causes.append((additional, replace(inner, path=f"{path}.additionalProperties", no_default=why)))
    for name, child in (schema.get("properties") or {}).items():
        at = replace(inner, path=f"{path}.properties[{name}]")
        if (place.root or schema.get(_EMBEDDED)) and name in _META:
            why = f"in top-level {name}" if place.root else place.no_default
            at = replace(at, inside_meta=True, no_default=why)
        causes.append((child, at))
    if schema.get("x-kubernetes-list-type") != "map":
        inner = replace(inner, uncorrelatable=place.uncorrelatable or path)
    if isinstance(items, dict):
        causes.append((items, replace(inner, path=f"{path}.items")))
    elif isinstance(items, list):
        causes += [(item, replace(inner, path=f"{path}.items[{index}]")) for index, item in enumerate(items)]
    return causes + _inside_junctors(schema, replace(place, root=False, scope=None))


def _inside_junctors(schema: JsonObject, place: _Place) -> list[tuple[JsonObject, _Place]]:
    path = place.path
    causes = []
    if schema.get("not") is not None:
        causes.append((schema["not"], f"{path}.not"))
    for junctor in ("allOf", "oneOf", "anyOf"):
        causes += [(clause, f"{path}.{junctor}[{index}]") for index, clause in enumerate(schema.get(junctor) or [])]
    for keyword in ("definitions", "dependencies"):
        causes += [
            (child, f"{path}.{keyword}[{name}]")
            for name, child in (schema.get(keyword) or {}).items()
            if isinstance(child, dict)
        ]
    return [(child, replace(place, path=at)) for child, at in causes]
