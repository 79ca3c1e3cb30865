"""ReplicaSets: keep a number of interchangeable pods."""

from __future__ import annotations

import copy

from localkube.apiserver.errors import ApiError
from localkube.controllers.engine import Controller
from localkube.controllers.objects import (
    Key,
    is_controlled_by,
    is_deleting,
    meta,
    owner_reference,
    pod_available,
    pod_finished,
    pod_ready,
    uid_of,
)
from localkube.controllers.resources import PODS, REPLICA_SETS, Obj

MAX_CREATES_PER_STEP = 50


def pod_from_template(owner: Obj, template: Obj) -> Obj:
    """Returns a pod of a ReplicaSet, named by the server."""
    template = copy.deepcopy(template)
    metadata = template.get("metadata") or {}
    result: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{meta(owner)['name']}-",
            "namespace": meta(owner)["namespace"],
            "labels": metadata.get("labels") or {},
            "ownerReferences": [owner_reference(owner, REPLICA_SETS)],
        },
        "spec": template.get("spec") or {},
    }
    if metadata.get("annotations"):
        result["metadata"]["annotations"] = metadata["annotations"]
    return result


def deletion_order(pod: Obj) -> tuple[bool, bool, str]:
    """Returns which pods to delete first when scaling down: unscheduled, then not ready, then the youngest."""
    return bool(pod["spec"].get("nodeName")), pod_ready(pod), _inverted(meta(pod).get("creationTimestamp", ""))


def _inverted(text: str) -> str:
    return "".join(chr(0x10FFFF - ord(c)) for c in text)


class ReplicaSetController(Controller):
    """Reconciles ReplicaSets (apps/v1). Pods are listed from the API: their names do not protect from duplicates."""

    name = "replicaset"

    def setup(self) -> None:
        """Wake by sets and their pods."""
        self.watch_own(REPLICA_SETS)
        self.watch_controlled(PODS, REPLICA_SETS)

    async def reconcile(self, key: Key) -> float | None:
        """Carries out one step of one set."""
        cached = self.context.informers.of(REPLICA_SETS).copy_of(*key)
        if cached is None or is_deleting(cached):
            return None
        namespace = key[0]
        items, _ = await self.api.list(PODS, namespace)
        own = [p for p in items if is_controlled_by(p, cached)]
        active = [p for p in own if not is_deleting(p) and not pod_finished(p)]
        wanted = cached["spec"].get("replicas")
        wanted = 1 if wanted is None else int(wanted)
        for _ in range(min(MAX_CREATES_PER_STEP, wanted - len(active))):
            try:
                pod = await self.api.create(PODS, namespace, pod_from_template(cached, cached["spec"]["template"]))
            except ApiError as error:
                self.context.recorder.event(
                    cached, "Warning", "FailedCreate", f"Error creating: {error.message}", component=self.name
                )
                raise
            active.append(pod)
            self.context.recorder.event(
                cached, "Normal", "SuccessfulCreate", f"Created pod: {meta(pod)['name']}", component=self.name
            )
        surplus = sorted(active, key=deletion_order)[: max(0, len(active) - wanted)]
        for pod in [*surplus, *(p for p in own if pod_finished(p) and not is_deleting(p))]:
            try:
                await self.api.delete(PODS, namespace, meta(pod)["name"], uid=uid_of(pod))
                self.context.recorder.event(
                    cached, "Normal", "SuccessfulDelete", f"Deleted pod: {meta(pod)['name']}", component=self.name
                )
            except ApiError as error:
                if not (error.not_found or error.conflict):
                    raise
        remaining = [p for p in active if p not in surplus]
        now = self.context.clock.now()
        min_ready = int(cached["spec"].get("minReadySeconds") or 0)
        status = {
            "observedGeneration": meta(cached).get("generation", 0),
            "replicas": len(remaining),
            "fullyLabeledReplicas": len(remaining),
            "readyReplicas": sum(pod_ready(p) for p in remaining),
            "availableReplicas": sum(pod_available(p, min_ready, now) for p in remaining),
        }
        if status != (cached.get("status") or {}):
            cached["status"] = status
            await self.api.update_status(REPLICA_SETS, namespace, cached)
        return 1.0 if status["readyReplicas"] != status["availableReplicas"] else None
