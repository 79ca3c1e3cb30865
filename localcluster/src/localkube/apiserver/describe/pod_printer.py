"""Pods as rows of a Table."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from localkube.apiserver.describe.ages import age, age_of
from localkube.apiserver.jsonobj import Json, JsonObject, lookup

_NONE = "<none>"
_ENDED = {
    "Succeeded": ("Succeeded", "The pod has completed successfully."),
    "Failed": ("Failed", "The pod failed."),
}


def pod_cells(obj: JsonObject, now: datetime) -> list[Json]:
    """Returns the cells behind a pod's name."""
    shown = _Shown.of(obj)
    return [
        f"{shown.ready}/{shown.total}",
        _reason(obj, shown),
        shown.restarts_text(now),
        age_of(obj, now),
        next((item.get("ip") for item in lookup(obj, "status", "podIPs") or []), "")
        or lookup(obj, "status", "podIP")
        or _NONE,
        lookup(obj, "spec", "nodeName") or _NONE,
        lookup(obj, "status", "nominatedNodeName") or _NONE,
        _gates(obj),
    ]


def pod_conditions(obj: JsonObject) -> list[JsonObject]:
    """Returns the conditions of a row: whether the pod has ended."""
    ended = _ENDED.get(lookup(obj, "status", "phase") or "")
    if ended is None:
        return []
    return [{"type": "Completed", "status": "True", "reason": ended[0], "message": ended[1]}]


@dataclass
class _Shown:
    """What the containers of a pod add up to."""

    reason: str = ""
    ready: int = 0
    total: int = 0
    restarts: int = 0
    last_ends: list[str] = field(default_factory=list)

    @staticmethod
    def of(obj: JsonObject) -> _Shown:
        """Go through the initial containers, and once these are done through the others."""
        status = obj.get("status") or {}
        initial = lookup(obj, "spec", "initContainers") or []
        sidecars = {item.get("name") for item in initial if item.get("restartPolicy") == "Always"}
        total = len(lookup(obj, "spec", "containers") or []) + len(sidecars)
        shown = _Shown(reason=str(status.get("reason") or status.get("phase") or ""), total=total)
        if any(item.get("reason") == "SchedulingGated" for item in _conditions(obj, "PodScheduled")):
            shown.reason = "SchedulingGated"
        if shown._initialize(status.get("initContainerStatuses") or [], len(initial), sidecars) or _holds(
            obj, "Initialized"
        ):
            shown._run(obj, status, sidecars)
        return shown

    def restarts_text(self, now: datetime) -> str:
        """Returns how often containers were restarted, and when the last one ended before."""
        latest = max(self.last_ends, default="")
        return f"{self.restarts} ({age(latest, now)} ago)" if self.restarts and latest else str(self.restarts)

    def _count(self, container: JsonObject) -> None:
        self.restarts += int(container.get("restartCount") or 0)
        ended = lookup(container, "lastState", "terminated", "finishedAt")
        if ended:
            self.last_ends.append(ended)

    def _initialize(self, statuses: list[JsonObject], count: int, sidecars: set[str]) -> bool:
        """Returns whether every initial container is done, or runs as a sidecar."""
        for index, container in enumerate(statuses):
            self._count(container)
            ended = lookup(container, "state", "terminated")
            if ended and not ended.get("exitCode"):
                continue
            if container.get("name") in sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            why = _why(container)
            self.reason = f"Init:{why}" if why and why != "PodInitializing" else f"Init:{index}/{count}"
            return False
        return True

    def _run(self, obj: JsonObject, status: JsonObject, sidecars: set[str]) -> None:
        self.restarts, self.last_ends = 0, []
        for container in status.get("initContainerStatuses") or []:
            if container.get("name") in sidecars:
                self._count(container)
        running = False
        for container in reversed(status.get("containerStatuses") or []):
            self._count(container)
            why = _why(container)
            if why:
                self.reason = why
            elif container.get("ready") and lookup(container, "state", "running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed" and running:
            self.reason = "Running" if _holds(obj, "Ready") else "NotReady"


def _why(container: JsonObject) -> str:
    """Returns why a container does not run; "" when it does, or when nobody knows."""
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated")
    if waiting.get("reason"):
        return str(waiting["reason"])
    if not ended:
        return ""
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _reason(obj: JsonObject, shown: _Shown) -> str:
    status = obj.get("status") or {}
    if obj["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in _ENDED:
            return "Terminating"
    return shown.reason


def _conditions(obj: JsonObject, kind: str) -> list[JsonObject]:
    return [item for item in lookup(obj, "status", "conditions") or [] if item.get("type") == kind]


def _holds(obj: JsonObject, kind: str) -> bool:
    return any(item.get("status") == "True" for item in _conditions(obj, kind))


def _gates(obj: JsonObject) -> str:
    gates = [item.get("conditionType", "") for item in lookup(obj, "spec", "readinessGates") or []]
    return f"{sum(_holds(obj, gate) for gate in gates)}/{len(gates)}" if gates else _NONE
