"""Disruption budgets: their defaults, and what is wrong with them."""

from __future__ import annotations

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.kinds.common import child
from localkube.apiserver.kinds.rules import (
    GoStruct,
    Table,
    at_least,
    check,
    invalid,
    label_selector,
    one_of,
    share_of_pods,
)


def default_budget(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a PodDisruptionBudget."""
    child(obj, "spec")
    if old is None:
        obj["status"] = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}


_BUDGET: Table = (
    ("minAvailable", share_of_pods),
    ("maxUnavailable", share_of_pods),
    ("selector", label_selector),
    ("unhealthyPodEvictionPolicy", one_of("AlwaysAllow", "IfHealthyBudget")),
)
_BUDGET_STATUS: Table = tuple(
    (name, at_least(0)) for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
)


def validate_budget(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with a PodDisruptionBudget."""
    if subresource == "status":
        return check(_BUDGET_STATUS, obj.get("status"), "status")
    spec = obj["spec"]
    causes = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        names = ("minAvailable", "selector", "maxUnavailable", "unhealthyPodEvictionPolicy")
        shown = GoStruct.of(spec, *((name[0].upper() + name[1:], name, None) for name in names))
        causes.append(invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    return causes + check(_BUDGET, spec, "spec")
