"""What is shown of a store about which nothing could be decided."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rstore_operator.facts.actions import Notice
from rstore_operator.planning.conditions.conditions import LIMIT, merge
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.planning.conditions.kstatus import RECONCILING, STALLED
from rstore_operator.resource.state import Condition
from rstore_operator.resource.state_json import conditions_from_json

PLANNING_FAILED, CANNOT_WATCH = "PlanningFailed", "CannotWatch"


def undecided(
    raw_status: Mapping[str, Any], reason: str, why: str, *, generation: int, now: datetime
) -> tuple[tuple[Condition, ...], tuple[Notice, ...]]:
    """The conditions, and an event when they say something new.

    Only conditions are changed: what else is in the status may be the very thing that could not be understood.
    """
    before = conditions_from_json(raw_status)
    message = f"nothing is changed: {why}"
    conditions = [
        Finding("Ready", None, reason, message),
        Finding("Progressing", False, reason, message),
        Finding("Degraded", True, reason, message),
        Finding(RECONCILING, False, reason, message),
        Finding(STALLED, True, reason, message),
    ]
    present = {finding.type for finding in conditions}
    others = tuple(condition for condition in before if condition.type not in present)
    changed = merge([item for item in before if item.type in present], conditions, generation=generation, now=now)
    reported = {(condition.reason, condition.message) for condition in before}
    news = () if (reason, message[:LIMIT]) in reported else (Notice(reason, message, warning=True),)
    return (*changed, *others), news
