"""Field selectors such as ``metadata.name=a,status.phase!=Running``, and which fields each kind can be selected by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from localkube.apiserver.errors import ApiError, bad_request
from localkube.apiserver.jsonobj import Json, JsonObject, lookup
from localkube.apiserver.resources import Resource

Value = Callable[[JsonObject], str]
"""The text that a selector compares, of an object as it is stored."""

_OPERATORS = ("!=", "==", "=")
_SPLIT = re.compile(r"((?:\\.|[^,\\])*)(?:,|$)")
_NAME, _NAMESPACE = "metadata.name", "metadata.namespace"


@dataclass(frozen=True)
class FieldTerm:
    """One term of a field selector."""

    value_of: Value
    equal: bool
    wanted: str

    def matches(self, obj: JsonObject) -> bool:
        """Returns whether the object satisfies this term."""
        return (self.value_of(obj) == self.wanted) == self.equal


def parse_fields(text: str, resource: Resource) -> tuple[FieldTerm, ...]:
    """Parse a field selector; what is no selector, and a field that the kind cannot be selected by, is a 400."""
    terms = [_split_term(part) for part in _split(text)]
    fields = _fields_of(resource)
    parsed = []
    for field, operator, wanted in terms:
        value_of = fields.get(field)
        if value_of is None:
            raise _unsupported(resource, field)
        parsed.append(FieldTerm(value_of, operator != "!=", wanted))
    return tuple(parsed)


def selected_name(text: str) -> str:
    """Returns the one name that a field selector asks for by ``metadata.name=…``; "" when there is none."""
    for part in _split(text):
        try:
            field, operator, wanted = _split_term(part)
        except ApiError:
            return ""
        if field == _NAME and operator != "!=":
            return wanted
    return ""


def _split(text: str) -> list[str]:
    """Returns the terms between commas; a comma after a backslash belongs to a value."""
    return [match[1] for match in _SPLIT.finditer(text) if match[1]]


def _split_term(part: str) -> tuple[str, str, str]:
    for position in range(len(part)):
        for operator in _OPERATORS:
            if part.startswith(operator, position):
                return part[:position], operator, _unescaped(part[position + len(operator) :])
    raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")


def _unescaped(value: str) -> str:
    if re.search(r"(?<!\\)(\\\\)*[=,]", value):
        raise bad_request(f"invalid field selector: unescaped character in value: {value}")
    return re.sub(r"\\(.)", r"\1", value)


def _unsupported(resource: Resource, field: str) -> ApiError:
    if resource.custom or _identity(resource) in _FIELDS:
        return bad_request(f"field label not supported: {field}")
    return bad_request(f'"{field}" is not a known field selector: only "{_NAME}", "{_NAMESPACE}"')


def _text(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _at(path: str) -> Value:
    steps = path.split(".")
    return lambda obj: _text(lookup(obj, *steps))


def _flag(path: str) -> Value:
    steps = path.split(".")
    return lambda obj: "true" if lookup(obj, *steps) else "false"


def _paths(*paths: str) -> dict[str, Value]:
    return {path: _at(path) for path in paths}


def _nothing(_obj: JsonObject) -> str:
    """Returns a field that may be named but is never filled in."""
    return ""


def _event_source(obj: JsonObject) -> str:
    return _text(lookup(obj, "source", "component")) or _text(obj.get("reportingComponent"))


_ABOUT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVERY = _paths(_NAME, _NAMESPACE)
_FIELDS: Mapping[tuple[str, str], Mapping[str, Value]] = {
    ("", "namespaces"): _paths(_NAME, "status.phase"),
    ("", "nodes"): {**_paths(_NAME), "spec.unschedulable": _flag("spec.unschedulable")},
    ("", "pods"): {
        **_EVERY,
        **_paths("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        **_paths("status.phase", "status.podIP", "status.nominatedNodeName"),
        "spec.host": _at("spec.nodeName"),
        "status.podIPs": _nothing,
        "spec.hostNetwork": _flag("spec.hostNetwork"),
    },
    ("", "services"): {**_EVERY, **_paths("spec.clusterIP", "spec.type")},
    ("", "secrets"): {**_EVERY, **_paths("type")},
    ("", "events"): {
        **_EVERY,
        **_paths(*(f"involvedObject.{name}" for name in _ABOUT)),
        **_paths("reason", "reportingComponent", "type"),
        "source": _event_source,
    },
}
"""Kinds that can be selected by other fields than their name and namespace."""


def _identity(resource: Resource) -> tuple[str, str]:
    return resource.group, resource.plural


def _fields_of(resource: Resource) -> Mapping[str, Value]:
    if resource.custom:
        return _EVERY if resource.namespaced else _paths(_NAME)
    return _FIELDS.get(_identity(resource), _EVERY)
