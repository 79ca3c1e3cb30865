"""The scheduler: binds pods to nodes, or reports in condition and event why it cannot."""

from __future__ import annotations

import copy

from localkube.apiserver.errors import ApiError
from localkube.controllers.engine import Controller
from localkube.controllers.informer import Change
from localkube.controllers.objects import Key, claims_of, is_deleting, key_of, meta, set_condition, uid_of
from localkube.controllers.resources import NODES, PODS, PVCS, PVS, Obj
from localkube.controllers.scheduling import choose

RETRY_SECONDS = 5.0


class Scheduler(Controller):
    """Schedules pods without a node whose `schedulerName` is the default one."""

    name = "default-scheduler"

    def setup(self) -> None:
        """Wake by new pods; by nodes, by pods that leave and by claims, for those that wait."""
        self.context.informers.of(PODS).subscribe(self._on_pod)
        self.context.informers.of(PVCS).subscribe(self._on_claim)
        self.context.informers.of(PVS)  # filled before the first pod is placed
        self.context.informers.of(NODES).subscribe(lambda _c, _o, _n: self._retry_waiting())

    def _on_pod(self, change: Change, _old: Obj | None, pod: Obj) -> None:
        if change == "deleted":
            self._retry_waiting()
        elif _is_waiting(pod) and change == "added":
            self.enqueue(key_of(pod))

    def _on_claim(self, _change: Change, _old: Obj | None, claim: Obj) -> None:
        for pod in self.context.informers.of(PODS).items(meta(claim)["namespace"]):
            if _is_waiting(pod) and meta(claim)["name"] in claims_of(pod):
                self.enqueue(key_of(pod))

    def _retry_waiting(self) -> None:
        for pod in self.context.informers.of(PODS).items():
            if _is_waiting(pod):
                self.enqueue(key_of(pod))

    async def reconcile(self, key: Key) -> float | None:
        """Place one pod."""
        pod = self.context.informers.of(PODS).copy_of(*key)
        if pod is None or not _is_waiting(pod):
            return None
        nodes = self.context.informers.of(NODES).items()
        unusable = self._why_claims_are_not_usable(pod)
        if unusable is not None:
            await self._report(pod, f"0/{len(nodes)} nodes are available: {unusable}.")
            return RETRY_SECONDS
        bound = [p for p in self.context.informers.of(PODS).items() if p["spec"].get("nodeName")]
        decision = choose(pod, nodes, bound, self._volumes(pod))
        if decision.node is not None:
            await self._bind(pod, decision.node)
            return None
        await self._report(pod, decision.message)
        return RETRY_SECONDS

    def _why_claims_are_not_usable(self, pod: Obj) -> str | None:
        """Returns why no node will do, whatever its labels, None when the pod's claims all have volumes."""
        for name in claims_of(pod):
            claim = self.context.informers.of(PVCS).get(meta(pod)["namespace"], name)
            if claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if is_deleting(claim):
                return f'persistentvolumeclaim "{name}" is being deleted'
            if (claim.get("status") or {}).get("phase") != "Bound":
                return "pod has unbound immediate PersistentVolumeClaims"
        return None

    def _volumes(self, pod: Obj) -> list[Obj]:
        """Returns the volumes that the pod's claims are bound to."""
        claims = [self.context.informers.of(PVCS).get(meta(pod)["namespace"], name) for name in claims_of(pod)]
        names = [claim["spec"].get("volumeName") or "" for claim in claims if claim is not None]
        volumes = [self.context.informers.of(PVS).get("", name) for name in names]
        return [volume for volume in volumes if volume is not None]

    async def _bind(self, pod: Obj, node: str) -> None:
        try:
            await self.api.bind(meta(pod)["namespace"], meta(pod)["name"], uid_of(pod), node)
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise
            return
        # Seen by the next decision even before the watch brings it.
        cached = self.context.informers.of(PODS).get(*key_of(pod))
        if cached is not None and uid_of(cached) == uid_of(pod):
            cached["spec"].setdefault("nodeName", node)
        self.context.recorder.event(
            pod,
            "Normal",
            "Scheduled",
            f"Successfully assigned {meta(pod)['namespace']}/{meta(pod)['name']} to {node}",
            component=self.name,
        )

    async def _report(self, pod: Obj, message: str) -> None:
        before = (pod.get("status") or {}).get("conditions") or []
        conditions = set_condition(
            before, "PodScheduled", False, self.context.clock.now(), reason="Unschedulable", message=message
        )
        if conditions == before:
            return
        changed = copy.deepcopy(pod)
        changed.setdefault("status", {}).update(phase="Pending", conditions=conditions)
        try:
            await self.api.update_status(PODS, meta(pod)["namespace"], changed)
        except ApiError as error:
            if not error.not_found:
                raise
        self.context.recorder.event(pod, "Warning", "FailedScheduling", message, component=self.name)


def _is_waiting(pod: Obj) -> bool:
    return (
        not pod["spec"].get("nodeName")
        and not is_deleting(pod)
        and pod["spec"].get("schedulerName", "default-scheduler") == "default-scheduler"
    )
