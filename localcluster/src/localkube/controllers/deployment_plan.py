"""How many pods each ReplicaSet of a Deployment should have next, and the Deployment's status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localkube.controllers.objects import meta, scaled, set_condition
from localkube.controllers.resources import Obj


@dataclass(frozen=True)
class SetState:
    """A ReplicaSet as the plan sees it. `pods` counts also pods that are being deleted."""

    name: str
    wanted: int
    replicas: int
    available: int
    pods: int


def plan_scales(deployment: Obj, new: SetState, old: Sequence[SetState]) -> dict[str, int]:
    """Returns the `spec.replicas` to set, by ReplicaSet name; only those that change."""
    replicas = deployment_replicas(deployment)
    strategy = deployment["spec"].get("strategy") or {}
    if deployment["spec"].get("paused"):
        return {new.name: replicas} if not any(s.wanted for s in old) and new.wanted != replicas else {}
    if strategy.get("type") == "Recreate":
        scales = {s.name: 0 for s in old if s.wanted}
        if not scales and not any(s.pods for s in old) and new.wanted != replicas:
            scales[new.name] = replicas
        return scales
    rolling = strategy.get("rollingUpdate") or {}
    surge = scaled(rolling.get("maxSurge", "25%"), replicas, round_up=True, default=1)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), replicas, round_up=False, default=0)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    scales = {}
    room = replicas + surge - new.wanted - sum(s.wanted for s in old)
    target = min(replicas, new.wanted + max(0, room)) if new.wanted < replicas else replicas
    if target != new.wanted:
        scales[new.name] = target
    # A set just scaled down still reports the pods that leave.
    available = {s.name: min(s.available, s.wanted) for s in (new, *old)}
    may_remove = sum(available.values()) - (replicas - unavailable)
    for state in old:
        unhealthy = state.wanted - available[state.name]
        step = unhealthy + min(state.wanted - unhealthy, max(0, may_remove))
        if step > 0:
            scales[state.name] = state.wanted - step
            may_remove -= step - unhealthy
    return scales


def deployment_replicas(deployment: Obj) -> int:
    """`spec.replicas`, 1 when absent."""
    value = deployment["spec"].get("replicas")
    return 1 if value is None else int(value)


def plan_status(
    deployment: Obj, new: SetState, old: Sequence[SetState], ready: int, revision: str, now: float
) -> dict[str, Any]:
    """Returns the Deployment's status, with the conditions Available and Progressing."""
    replicas = deployment_replicas(deployment)
    total = new.replicas + sum(s.replicas for s in old)
    available = new.available + sum(s.available for s in old)
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
    unavailable = (
        replicas
        if recreate and replicas == 0
        else scaled(None if recreate else rolling.get("maxUnavailable", "25%"), replicas, round_up=False, default=0)
    )
    enough = available >= replicas - unavailable
    complete = new.replicas == replicas == total == available
    conditions = set_condition(
        (deployment.get("status") or {}).get("conditions") or [],
        "Available",
        enough,
        now,
        reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        message="Deployment has minimum availability." if enough else "Deployment does not have minimum availability.",
        update_time=True,
    )
    paused = bool(deployment["spec"].get("paused"))
    reason = "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated"
    message = f'ReplicaSet "{revision}" ' + ("has successfully progressed." if complete else "is progressing.")
    conditions = set_condition(
        conditions,
        "Progressing",
        None if paused else True,
        now,
        reason="DeploymentPaused" if paused else reason,
        message="Deployment is paused" if paused else message,
        update_time=True,
    )
    status: dict[str, Any] = {
        "observedGeneration": meta(deployment).get("generation", 0),
        "replicas": total,
        "updatedReplicas": new.replicas,
        "readyReplicas": ready,
        "availableReplicas": available,
        "conditions": conditions,
    }
    if replicas > available:
        status["unavailableReplicas"] = max(0, replicas - available)
    return status
