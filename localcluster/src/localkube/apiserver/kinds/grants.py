"""Which of the rules that a role would grant are not covered by rules that somebody holds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence

from localkube.apiserver.jsonobj import JsonObject

_SHOWN = (
    ("apiGroups", "APIGroups"),
    ("resources", "Resources"),
    ("resourceNames", "ResourceNames"),
    ("nonResourceURLs", "NonResourceURLs"),
    ("verbs", "Verbs"),
)


def uncovered(own: Sequence[JsonObject], wanted: Sequence[JsonObject]) -> list[str]:
    """Returns what is wanted and not covered, joined by resource and as messages show it, sorted."""
    missing = [part for rule in wanted for part in _parts(rule) if not any(_covers(held, part) for held in own)]
    return sorted(dict.fromkeys(_shown(rule) for rule in _joined(missing)))


def _parts(rule: JsonObject) -> Iterator[JsonObject]:
    """Yields a rule as rules of one verb and one resource, or one path."""
    verbs = rule.get("verbs") or []
    for verb, group, resource in itertools.product(verbs, rule.get("apiGroups") or [], rule.get("resources") or []):
        part: JsonObject = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        names = rule.get("resourceNames") or []
        yield from ({**part, "resourceNames": [name]} for name in names)
        if not names:
            yield part
    for verb, url in itertools.product(verbs, rule.get("nonResourceURLs") or []):
        yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covers(held: JsonObject, part: JsonObject) -> bool:
    """Returns whether a rule allows all that a part of one verb does."""
    verb = part["verbs"][0]
    verbs = held.get("verbs") or []
    if verb not in verbs and "*" not in verbs:
        return False
    if "nonResourceURLs" in part:
        url = part["nonResourceURLs"][0]
        return any(
            pattern in (url, "*") or (pattern.endswith("*") and url.removesuffix("*").startswith(pattern[:-1]))
            for pattern in held.get("nonResourceURLs") or []
        )
    group, resource = part["apiGroups"][0], part["resources"][0]
    groups, resources, names = (held.get(field) or [] for field in ("apiGroups", "resources", "resourceNames"))
    _, slash, subresource = resource.partition("/")
    return (
        (group in groups or "*" in groups)
        and (resource in resources or "*" in resources or (bool(slash) and f"*/{subresource}" in resources))
        and (not names or part.get("resourceNames", [""])[0] in names)
    )


def _joined(parts: Sequence[JsonObject]) -> Iterator[JsonObject]:
    """Parts about the same resource as one rule, with their verbs in order; others as they are."""
    by_resource: dict[tuple[str, str], JsonObject] = {}
    for part in parts:
        if "apiGroups" not in part or "resourceNames" in part:
            yield part
            continue
        key = (part["apiGroups"][0], part["resources"][0])
        rule = by_resource.setdefault(key, {**part, "verbs": []})
        rule["verbs"] = [*rule["verbs"], *(verb for verb in part["verbs"] if verb not in rule["verbs"])]
    yield from by_resource.values()


def _shown(rule: JsonObject) -> str:
    fields = (
        f"{name}:[{', '.join(json.dumps(item) for item in rule[field])}]" for field, name in _SHOWN if rule.get(field)
    )
    return f"{{{', '.join(fields)}}}"
