"""Which pods of a StatefulSet to create and delete next, and its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localkube.controllers.objects import is_deleting, meta, pod_available, pod_finished, pod_ready
from localkube.controllers.resources import Obj
from localkube.controllers.statefulset_pods import ordinal_of, replicas_of, revision_of, start_ordinal


@dataclass(frozen=True)
class Revisions:
    """Names of the revision the set is at and the one it moves to."""

    current: str
    update: str


@dataclass(frozen=True)
class CreatePod:
    """Create the pod of `ordinal` from `revision`."""

    ordinal: int
    revision: str


@dataclass(frozen=True)
class DeletePod:
    """Delete exactly this pod."""

    name: str
    uid: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What to do now. `again_seconds`: when a pod becomes available by time alone."""

    actions: tuple[CreatePod | DeletePod, ...] = ()
    again_seconds: float | None = None


@dataclass
class _Builder:
    actions: list[CreatePod | DeletePod] = field(default_factory=list)

    def create(self, ordinal: int, revision: str) -> None:
        self.actions.append(CreatePod(ordinal, revision))

    def delete(self, pod: Obj, why: str) -> None:
        self.actions.append(DeletePod(meta(pod)["name"], meta(pod).get("uid", ""), why))


def plan_pods(sts: Obj, pods: Sequence[Obj], revisions: Revisions, now: float) -> Plan:
    """Returns the next creations and deletions.

    OrderedReady waits for each pod before the next; Parallel creates and scales down at once. Updates by RollingUpdate
    replace pods from the highest ordinal, one at a time, each only when those above it are ready, down to `partition`.
    """
    by_ordinal = {o: p for p in pods if (o := ordinal_of(sts, p)) is not None}
    start = start_ordinal(sts)
    wanted = range(start, start + replicas_of(sts))
    min_ready = int(sts["spec"].get("minReadySeconds") or 0)
    again = _availability_wait(by_ordinal, min_ready, now)
    ordered = (sts["spec"].get("podManagementPolicy") or "OrderedReady") == "OrderedReady"
    build = _Builder()

    def healthy(pod: Obj) -> bool:
        return not is_deleting(pod) and pod_available(pod, min_ready, now)

    for ordinal in wanted:
        pod = by_ordinal.get(ordinal)
        if pod is None:
            build.create(ordinal, _revision_for(sts, revisions, ordinal))
            if ordered:
                return Plan(tuple(build.actions), again)
        elif pod_finished(pod) and not is_deleting(pod):
            build.delete(pod, "the pod has finished")
            if ordered:
                return Plan(tuple(build.actions), again)
        elif ordered and not healthy(pod):
            # A set whose new revision never gets ready must still be able to move on to a corrected one.
            if _is_stuck_below_update(pod, revisions) and _may_update(sts, ordinal):
                build.delete(pod, "the pod is not ready and not of the update revision")
            return Plan(tuple(build.actions), again)

    condemned = sorted((o for o in by_ordinal if o not in wanted), reverse=True)
    for ordinal in condemned:
        pod = by_ordinal[ordinal]
        if not is_deleting(pod):
            build.delete(pod, "scaled down")
        if ordered:
            return Plan(tuple(build.actions), again)

    if not build.actions and not condemned:
        _plan_update(sts, by_ordinal, wanted, revisions, healthy_pods=healthy, build=build)
    return Plan(tuple(build.actions), again)


def _plan_update(
    sts: Obj, by_ordinal: Mapping[int, Obj], wanted: range, revisions: Revisions, *, healthy_pods: Any, build: _Builder
) -> None:
    strategy = sts["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return
    for ordinal in reversed(wanted):
        if not _may_update(sts, ordinal):
            return
        pod = by_ordinal.get(ordinal)
        if pod is None:
            return
        if revision_of(pod) != revisions.update:
            if not is_deleting(pod):
                build.delete(pod, "rolling update")
            return
        if not healthy_pods(pod):
            return


def _partition(sts: Obj) -> int:
    return int(((sts["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0)


def _may_update(sts: Obj, ordinal: int) -> bool:
    strategy = (sts["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    return strategy == "RollingUpdate" and ordinal >= start_ordinal(sts) + _partition(sts)


def _is_stuck_below_update(pod: Obj, revisions: Revisions) -> bool:
    return revision_of(pod) != revisions.update and not is_deleting(pod) and not pod_ready(pod)


def _revision_for(sts: Obj, revisions: Revisions, ordinal: int) -> str:
    if revisions.current == revisions.update:
        return revisions.update
    strategy = sts["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return revisions.update
    return revisions.current if ordinal < start_ordinal(sts) + _partition(sts) else revisions.update


def _availability_wait(by_ordinal: Mapping[int, Obj], min_ready: int, now: float) -> float | None:
    if min_ready <= 0:
        return None
    waiting = any(pod_ready(p) and not pod_available(p, min_ready, now) for p in by_ordinal.values())
    return 1.0 if waiting else None


def plan_status(sts: Obj, pods: Sequence[Obj], revisions: Revisions, now: float) -> dict[str, Any]:
    """Returns the status of the set as its pods are."""
    own = [p for p in pods if ordinal_of(sts, p) is not None]
    live = [p for p in own if not is_deleting(p)]
    min_ready = int(sts["spec"].get("minReadySeconds") or 0)
    ready = [p for p in live if pod_ready(p)]
    updated = [p for p in live if revision_of(p) == revisions.update]
    current = [p for p in live if revision_of(p) == revisions.current]
    status: dict[str, Any] = {
        "observedGeneration": meta(sts).get("generation", 0),
        "replicas": len(own),
        "readyReplicas": len(ready),
        "availableReplicas": sum(pod_available(p, min_ready, now) for p in live),
        "currentReplicas": len(current),
        "updatedReplicas": len(updated),
        "currentRevision": revisions.current,
        "updateRevision": revisions.update,
        "collisionCount": 0,
    }
    complete = len(updated) == len(own) == replicas_of(sts) == len(ready)
    if complete and revisions.current != revisions.update:
        status["currentRevision"] = revisions.update
        status["currentReplicas"] = len(updated)
    conditions = (sts.get("status") or {}).get("conditions")
    if conditions:
        status["conditions"] = conditions
    return status
