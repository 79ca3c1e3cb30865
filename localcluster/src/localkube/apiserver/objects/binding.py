"""How a pod is assigned to a node: once, while it is not being deleted, and with a condition that says so."""

from __future__ import annotations

from datetime import datetime

from localkube.apiserver.errors import conflict
from localkube.apiserver.jsonobj import JsonObject, format_time

_SCHEDULED = "PodScheduled"


def assign(pod: JsonObject, node: str, now: datetime) -> None:
    """Assign a pod to a node, in place; raises 409."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    why = ""
    if pod["metadata"].get("deletionTimestamp"):
        why = f"pod {name} is being deleted, cannot be assigned to a host"
    elif spec.get("nodeName"):
        why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    elif spec.get("schedulingGates"):
        why = f"pod {name} has non-empty .spec.schedulingGates"
    if why:
        raise conflict("", "pods/binding", name, why)
    spec["nodeName"] = node
    status = pod.setdefault("status", {})
    conditions = [item for item in status.get("conditions") or [] if item.get("type") != _SCHEDULED]
    before: JsonObject = next((item for item in status.get("conditions") or [] if item.get("type") == _SCHEDULED), {})
    scheduled = {"type": _SCHEDULED, "status": "True", "lastProbeTime": None, "lastTransitionTime": format_time(now)}
    if before.get("status") == "True":
        scheduled["lastTransitionTime"] = before.get("lastTransitionTime")
    status["conditions"] = [*conditions, scheduled]
