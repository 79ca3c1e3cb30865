"""A pod's status as a kubelet reports it, from what is known of its containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localkube.controllers.objects import condition_true, meta, rfc3339, set_condition
from localkube.controllers.resources import Obj

Json = dict[str, Any]


@dataclass
class ContainerState:
    """What is known of one container. Exactly one of `waiting`, `running_since`, `terminated` describes it now."""

    name: str
    image: str
    waiting: Json | None = field(default_factory=lambda: {"reason": "ContainerCreating"})
    running_since: float | None = None
    terminated: Json | None = None
    last_terminated: Json | None = None
    restart_count: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""

    def set_waiting(self, reason: str, message: str = "") -> None:
        """It does not run, for now."""
        if self.terminated is not None:
            self.last_terminated = self.terminated
        self.waiting = {"reason": reason, **({"message": message} if message else {})}
        self.running_since, self.terminated, self.ready, self.started = None, None, False, False

    def set_running(self, now: float, container_id: str) -> None:
        """It runs."""
        if self.terminated is not None:
            self.last_terminated = self.terminated
        self.waiting, self.terminated, self.running_since = None, None, now
        self.container_id = container_id
        self.ready = self.started = False

    def set_terminated(self, now: float, exit_code: int, signal: int, reason: str, message: str = "") -> None:
        """It has ended."""
        self.terminated = {
            "exitCode": exit_code,
            "reason": reason,
            "startedAt": rfc3339(self.running_since if self.running_since is not None else now),
            "finishedAt": rfc3339(now),
            **({"signal": signal} if signal else {}),
            **({"message": message} if message else {}),
            **({"containerID": self.container_id} if self.container_id else {}),
        }
        self.waiting, self.running_since, self.ready, self.started = None, None, False, False

    def to_json(self) -> Json:
        """Returns an entry of `containerStatuses`."""
        if self.running_since is not None:
            state: Json = {"running": {"startedAt": rfc3339(self.running_since)}}
        elif self.terminated is not None:
            state = {"terminated": self.terminated}
        else:
            state = {"waiting": self.waiting or {"reason": "ContainerCreating"}}
        return {
            "name": self.name,
            "image": self.image,
            "imageID": "process://" + self.image if self.container_id else "",
            "state": state,
            "lastState": {"terminated": self.last_terminated} if self.last_terminated else {},
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restart_count,
            **({"containerID": self.container_id} if self.container_id else {}),
        }


def phase(restart_policy: str, init: Sequence[ContainerState], main: Sequence[ContainerState]) -> str:
    """Returns the pod's phase."""
    for state in init:
        if state.terminated is not None and state.terminated["exitCode"] != 0 and restart_policy == "Never":
            return "Failed"
        if state.terminated is None or state.terminated["exitCode"] != 0:
            return "Pending"
    if all(s.terminated is not None for s in main):
        codes = [s.terminated["exitCode"] for s in main if s.terminated is not None]
        if restart_policy == "Always":
            return "Running"
        if all(c == 0 for c in codes):
            return "Succeeded"
        return "Failed" if restart_policy == "Never" else "Running"
    if any(s.waiting is not None and s.last_terminated is None for s in main):
        return "Pending"
    return "Running"


@dataclass(frozen=True)
class PodFacts:
    """What is known of the pod beside its containers."""

    pod_ip: str
    host_ip: str
    started_at: float


def build(
    pod: Obj, facts: PodFacts, init: Sequence[ContainerState], main: Sequence[ContainerState], now: float
) -> Json:
    """Returns the whole status. Conditions that others own (readiness gates, scheduler) are kept."""
    before: Json = pod.get("status") or {}
    now_phase = phase(pod["spec"].get("restartPolicy", "Always"), init, main)
    finished = now_phase in ("Succeeded", "Failed")
    initialized = all(s.terminated is not None and s.terminated["exitCode"] == 0 for s in init)
    unready = [s.name for s in main if not s.ready]
    containers_ready = not unready and not finished
    gates = [g["conditionType"] for g in pod["spec"].get("readinessGates") or []]
    gates_open = all(condition_true(pod, g) for g in gates)
    conditions = before.get("conditions") or []
    has_sandbox = bool(facts.pod_ip) and not finished
    why = "PodCompleted" if now_phase == "Succeeded" else "ContainersNotReady"
    message = "" if now_phase == "Succeeded" else f"containers with unready status: [{' '.join(unready)}]"
    for name, value, reason, text in (
        ("PodScheduled", True, "", ""),
        ("PodReadyToStartContainers", has_sandbox, "", ""),
        ("Initialized", initialized, "ContainersNotInitialized", "containers with incomplete status"),
        ("ContainersReady", containers_ready, why, message),
        (
            "Ready",
            containers_ready and gates_open,
            "ReadinessGatesNotReady" if containers_ready else why,
            "" if containers_ready else message,
        ),
    ):
        conditions = set_condition(
            conditions, name, value, now, reason="" if value else reason, message="" if value else text
        )
    status: Json = {
        **{k: v for k, v in before.items() if k in ("qosClass", "nominatedNodeName")},
        "phase": now_phase,
        "conditions": conditions,
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": before.get("startTime") or rfc3339(facts.started_at),
        "containerStatuses": [s.to_json() for s in main],
        "qosClass": before.get("qosClass") or qos_class(pod),
    }
    generation = meta(pod).get("generation")
    if generation:
        status["observedGeneration"] = generation
    if facts.pod_ip:
        status["podIP"] = facts.pod_ip
        status["podIPs"] = [{"ip": facts.pod_ip}]
    if init:
        status["initContainerStatuses"] = [s.to_json() for s in init]
    return status


def qos_class(pod: Obj) -> str:
    """Returns the pod's quality of service by its requests and limits."""
    seen, guaranteed = False, True
    for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
        resources: Mapping[str, Any] = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            if name in limits or name in requests:
                seen = True
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not seen:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
