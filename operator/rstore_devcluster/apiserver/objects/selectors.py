"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rstore_devcluster.apiserver.http.errors import bad_request
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, lookup

Matcher = Callable[[JsonObject], bool]

_SET = re.compile(r"^([A-Za-z0-9._/-]+)\s+(in|notin)\s*\(([^)]*)\)$")
_EQUALITY = re.compile(r"^([A-Za-z0-9._/-]+)\s*(==|!=|=)\s*([A-Za-z0-9._-]*)$")
_EXISTS = re.compile(r"^(!?)\s*([A-Za-z0-9._/-]+)$")


@dataclass(frozen=True)
class Requirement:
    """One term of a label selector."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy this term; ``notin`` and ``!=`` also match where the key is missing."""
        present = self.key in labels
        if self.operator == "exists":
            return present
        if self.operator == "absent":
            return not present
        if self.operator == "in":
            return present and labels[self.key] in self.values
        return not present or labels[self.key] not in self.values


def _split(text: str) -> list[str]:
    """Split at the commas outside parentheses."""
    parts: list[str] = []
    depth = start = 0
    for position, char in enumerate(text):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Parse a label selector such as ``app=x,tier in (a,b),!old``; raises a 400."""
    requirements = []
    for part in _split(text):
        if found := _SET.match(part):
            values = frozenset(value.strip() for value in found[3].split(","))
            requirements.append(Requirement(found[1], found[2], values))
        elif found := _EQUALITY.match(part):
            operator = "notin" if found[2] == "!=" else "in"
            requirements.append(Requirement(found[1], operator, frozenset([found[3]])))
        elif found := _EXISTS.match(part):
            requirements.append(Requirement(found[2], "absent" if found[1] else "exists"))
        else:
            raise bad_request(f"unable to parse requirement: found '{part}' in label selector \"{text}\"")
    return tuple(requirements)


def from_label_selector(selector: JsonObject | None) -> tuple[Requirement, ...]:
    """The requirements of a ``metav1.LabelSelector`` object (``matchLabels`` and ``matchExpressions``)."""
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
    selector = selector or {}
    requirements = [
        Requirement(key, "in", frozenset([value])) for key, value in (selector.get("matchLabels") or {}).items()
    ]
    for expression in selector.get("matchExpressions") or []:
        operator = operators.get(expression.get("operator", ""))
        if operator is None:
            raise bad_request(f'"{expression.get("operator")}" is not a valid label selector operator')
        requirements.append(Requirement(expression["key"], operator, frozenset(expression.get("values") or [])))
    return tuple(requirements)


def labels_match(requirements: tuple[Requirement, ...], labels: Mapping[str, str] | None) -> bool:
    """Whether labels satisfy all requirements."""
    return all(requirement.matches(labels or {}) for requirement in requirements)


@dataclass(frozen=True)
class FieldTerm:
    """One term of a field selector."""

    field: str
    equal: bool
    value: str


def parse_fields(text: str, supported: frozenset[str], kind: str) -> tuple[FieldTerm, ...]:
    """Parse a field selector; a field the kind does not support is a 400, as with the real server."""
    terms = []
    for part in (piece.strip() for piece in text.split(",")):
        if not part:
            continue
        for operator in ("!=", "==", "="):
            if operator in part:
                field, value = part.split(operator, 1)
                break
        else:
            raise bad_request(f'Unable to find "{text}" that match field selector: invalid field selector: "{text}"')
        if field not in supported:
            raise bad_request(f'field label not supported: {field} (kind "{kind}")')
        terms.append(FieldTerm(field, operator != "!=", value))
    return tuple(terms)


def _text(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def compile_selector(label_selector: str, field_selector: str, supported: frozenset[str], kind: str) -> Matcher | None:
    """A predicate over objects for both selectors, or None when everything matches."""
    requirements = parse_labels(label_selector) if label_selector else ()
    terms = parse_fields(field_selector, supported, kind) if field_selector else ()
    if not requirements and not terms:
        return None
    paths = [(term, term.field.split(".")) for term in terms]

    def matches(obj: JsonObject) -> bool:
        if requirements and not labels_match(requirements, lookup(obj, "metadata", "labels")):
            return False
        return all((_text(lookup(obj, *path)) == term.value) == term.equal for term, path in paths)

    return matches
