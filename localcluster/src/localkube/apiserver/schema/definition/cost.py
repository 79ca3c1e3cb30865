"""The limits on what rules may cost, for one rule and for all rules of a schema together."""

from __future__ import annotations

from dataclasses import dataclass, field

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema.definition.causes import forbidden
from localkube.apiserver.schema.expressions.ranges import MAX, times

RULE_LIMIT = 10_000_000
TOTAL_LIMIT = 100_000_000
_MOST_EXPENSIVE = 4


def limit_causes(what: str, cost: int, path: str) -> list[Cause]:
    """Returns a rule or a message that costs too much by itself."""
    return [forbidden(path, _exceeds(what, cost, RULE_LIMIT))] if cost > RULE_LIMIT else []


def _exceeds(what: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:.6f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"{what} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and "
        "maxLength where arrays, maps, and strings are declared)"
    )


@dataclass
class Total:
    """What all rules of a schema cost, and the few that cost most."""

    cost: int = 0
    most_expensive: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: str, cost: int) -> None:
        """Count one expression."""
        self.cost = min(MAX, self.cost + cost)
        if cost < TOTAL_LIMIT // 100:
            return
        ordered = sorted([*self.most_expensive, (cost, path)], key=lambda item: -item[0])
        self.most_expensive = ordered[:_MOST_EXPENSIVE]

    def causes(self, path: str) -> list[Cause]:
        """Returns what is wrong when they cost too much together."""
        if self.cost <= TOTAL_LIMIT:
            return []
        contributed = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return [
            *(forbidden(at, contributed) for _, at in self.most_expensive),
            forbidden(path, _exceeds(what, self.cost, TOTAL_LIMIT)),
        ]


def occurrences(schema: JsonObject, times_here: int | None) -> int | None:
    """Returns how often what is directly inside a schema can be there, for one that itself is; None without a bound."""
    if times_here is None:
        return None
    most: int | None = 1
    if schema.get("type") == "array":
        most = schema.get("maxItems")
    elif schema.get("type") == "object" and schema.get("additionalProperties") is not None:
        most = schema.get("maxProperties")
    return None if most is None else times(times_here, max(0, most))
