"""What is shown of a store about which nothing could be decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rstore_operator.planning.actions import Notice
from rstore_operator.planning.conditions import Finding, merge
from rstore_operator.resource.state import Condition
from rstore_operator.resource.state_json import conditions_from_json

PLANNING_FAILED = "PlanningFailed"
_SHOWN = 300
"""Characters of the error that are shown."""


def planning_failed(
    raw_status: Mapping[str, Any], error: Exception, *, generation: int, now: datetime
) -> tuple[tuple[Condition, ...], tuple[Notice, ...]]:
    """The conditions, and an event when they say something new.

    Only conditions are changed: what else is in the status may be the very thing that could not be understood.
    """
    before = conditions_from_json(raw_status)
    text = f"{type(error).__name__}: {str(error)[:_SHOWN]}".rstrip(": ")
    message = f"the operator cannot decide about this store, and changes nothing until it can: {text}"
    found = [
        Finding("Ready", None, PLANNING_FAILED, message),
        Finding("Progressing", False, PLANNING_FAILED, message),
        Finding("Degraded", True, PLANNING_FAILED, message),
    ]
    present = {finding.type for finding in found}
    others = tuple(condition for condition in before if condition.type not in present)
    changed = merge([item for item in before if item.type in present], found, generation=generation, now=now)
    known = {(condition.reason, condition.message) for condition in before}
    news = () if (PLANNING_FAILED, message) in known else (Notice(PLANNING_FAILED, message, warning=True),)
    return (*changed, *others), news
