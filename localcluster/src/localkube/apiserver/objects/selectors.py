"""What selectors select: labels by ``metav1.LabelSelector`` objects, objects by the selectors of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from localkube.apiserver.errors import bad_request
from localkube.apiserver.jsonobj import JsonObject, lookup
from localkube.apiserver.objects.field_selectors import parse_fields
from localkube.apiserver.objects.label_syntax import Requirement, parse_labels
from localkube.apiserver.resources import Resource

Matcher = Callable[[JsonObject], bool]


def from_label_selector(selector: JsonObject | None) -> tuple[Requirement, ...]:
    """Returns the requirements of a ``metav1.LabelSelector`` object (``matchLabels`` and ``matchExpressions``)."""
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
    """Returns whether labels satisfy all requirements."""
    return all(requirement.matches(labels or {}) for requirement in requirements)


def compile_selector(label_selector: str, field_selector: str, resource: Resource) -> Matcher | None:
    """Returns a predicate over stored objects for both selectors, or None when everything matches; raises a 400."""
    requirements = parse_labels(label_selector) if label_selector else ()
    terms = parse_fields(field_selector, resource) if field_selector else ()
    if not requirements and not terms:
        return None

    def matches(obj: JsonObject) -> bool:
        if requirements and not labels_match(requirements, lookup(obj, "metadata", "labels")):
            return False
        return all(term.matches(obj) for term in terms)

    return matches
