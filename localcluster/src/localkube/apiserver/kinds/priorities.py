"""Priority classes: their defaults, what is wrong with them, what of them may change."""

from __future__ import annotations

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.kinds.common import set_defaults
from localkube.apiserver.kinds.rules import forbidden, one_of

_HIGHEST = 1_000_000_000
_RESERVED = "priority class names with 'system-' prefix are reserved for system use only"


def default_priority_class(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a PriorityClass."""
    set_defaults(obj, preemptionPolicy="PreemptLowerPriority", value=0)


def validate_priority_class(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with a PriorityClass, or with how it changed: its value is fixed."""
    causes = list(one_of("Never", "PreemptLowerPriority")(obj["preemptionPolicy"], "preemptionPolicy"))
    if (obj["metadata"].get("name") or "").startswith("system-"):
        causes.append(forbidden("metadata.name", _RESERVED))
    elif obj["value"] > _HIGHEST:
        causes.append(forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST}"))
    if old is not None:
        causes += [
            forbidden(field, "may not be changed in an update.")
            for field in ("value", "preemptionPolicy")
            if obj[field] != old[field]
        ]
    return causes
