"""Deployments: one ReplicaSet per pod template, replaced by RollingUpdate or Recreate."""

from __future__ import annotations

import copy

from localkube.apiserver.errors import ApiError
from localkube.controllers.deployment_plan import SetState, plan_scales, plan_status
from localkube.controllers.engine import Controller
from localkube.controllers.objects import (
    Key,
    controller_ref,
    is_controlled_by,
    is_deleting,
    meta,
    owner_reference,
    short_hash,
    uid_of,
)
from localkube.controllers.resources import DEPLOYMENTS, PODS, REPLICA_SETS, Obj

HASH_LABEL = "pod-template-hash"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"


class DeploymentController(Controller):
    """Reconciles Deployments (apps/v1)."""

    name = "deployment"

    def setup(self) -> None:
        """Wake by Deployments, their ReplicaSets, and pods going away (for Recreate)."""
        self.watch_own(DEPLOYMENTS)
        self.watch_controlled(REPLICA_SETS, DEPLOYMENTS)
        self.context.informers.of(PODS).subscribe(self._on_pod)

    def _on_pod(self, change: str, _old: Obj | None, pod: Obj) -> None:
        if change != "deleted":
            return
        ref = controller_ref(pod)
        if ref is None or ref.get("kind") != "ReplicaSet":
            return
        replica_set = self.context.informers.of(REPLICA_SETS).get(meta(pod)["namespace"], ref["name"])
        owner = controller_ref(replica_set) if replica_set is not None else None
        if owner is not None:
            self.enqueue((meta(pod)["namespace"], owner["name"]))

    async def reconcile(self, key: Key) -> float | None:
        """Carries out one step of one Deployment."""
        deployment = self.context.informers.of(DEPLOYMENTS).copy_of(*key)
        if deployment is None or is_deleting(deployment):
            return None
        namespace = key[0]
        items, _ = await self.api.list(REPLICA_SETS, namespace)
        own = [r for r in items if is_controlled_by(r, deployment)]
        wanted_hash = short_hash(deployment["spec"]["template"], 9)
        name = f"{meta(deployment)['name']}-{wanted_hash}"
        new = next((r for r in own if meta(r)["name"] == name), None)
        revision = max((int(_revision(r)) for r in own), default=0)
        if new is None and deployment["spec"].get("paused"):
            await self._while_paused(deployment, own, revision)
            return None
        if new is None:
            revision += 1
            new = await self.api.create(REPLICA_SETS, namespace, _replica_set(deployment, name, wanted_hash, revision))
            own.append(new)
        elif int(_revision(new)) < revision:
            revision += 1
            meta(new).setdefault("annotations", {})[REVISION_ANNOTATION] = str(revision)
            new = await self.api.update(REPLICA_SETS, namespace, new)
            own = [new if meta(r)["name"] == name else r for r in own]
        old = [r for r in own if meta(r)["name"] != name]
        states = {meta(r)["name"]: self._state(r) for r in own}
        await self._scale_all(
            deployment, own, plan_scales(deployment, states[name], [states[meta(r)["name"]] for r in old])
        )
        await self._trim(deployment, old)
        await self._write(deployment, name, own, states, revision)
        return None

    async def _while_paused(self, deployment: Obj, own: list[Obj], revision: int) -> None:
        """A paused Deployment makes no ReplicaSet of its template; the one that it has follows its size."""
        states = {meta(r)["name"]: self._state(r) for r in own}
        active = [r for r in own if states[meta(r)["name"]].wanted] or sorted(own, key=lambda r: int(_revision(r)))[-1:]
        if len(active) == 1:
            state = states[meta(active[0])["name"]]
            await self._scale_all(deployment, own, plan_scales(deployment, state, []))
        await self._write(deployment, "", own, states, revision)

    async def _scale_all(self, deployment: Obj, own: list[Obj], scales: dict[str, int]) -> None:
        for replica_set in own:
            count = scales.get(meta(replica_set)["name"])
            if count is not None:
                await self._scale(deployment, replica_set, count)

    def _state(self, replica_set: Obj) -> SetState:
        status = replica_set.get("status") or {}
        pods = [
            p
            for p in self.context.informers.of(PODS).items(meta(replica_set)["namespace"])
            if is_controlled_by(p, replica_set)
        ]
        return SetState(
            name=meta(replica_set)["name"],
            wanted=int(replica_set["spec"].get("replicas", 1)),
            replicas=int(status.get("replicas", 0)),
            available=int(status.get("availableReplicas", 0)),
            pods=len(pods),
        )

    async def _scale(self, deployment: Obj, replica_set: Obj, count: int) -> None:
        before = int(replica_set["spec"].get("replicas", 1))
        changed = copy.deepcopy(replica_set)
        changed["spec"]["replicas"] = count
        await self.api.update(REPLICA_SETS, meta(replica_set)["namespace"], changed)
        direction = "up" if count > before else "down"
        self.context.recorder.event(
            deployment,
            "Normal",
            "ScalingReplicaSet",
            f"Scaled {direction} replica set {meta(replica_set)['name']} from {before} to {count}",
            component="deployment-controller",
        )

    async def _trim(self, deployment: Obj, old: list[Obj]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit")
        idle = [r for r in old if not r["spec"].get("replicas") and not (r.get("status") or {}).get("replicas")]
        idle.sort(key=lambda r: int(_revision(r)))
        for replica_set in idle[: max(0, len(idle) - (10 if limit is None else int(limit)))]:
            try:
                await self.api.delete(
                    REPLICA_SETS, meta(replica_set)["namespace"], meta(replica_set)["name"], uid=uid_of(replica_set)
                )
            except ApiError as error:
                if not error.not_found:
                    raise

    async def _write(
        self, deployment: Obj, new_name: str, own: list[Obj], states: dict[str, SetState], revision: int
    ) -> None:
        namespace = meta(deployment)["namespace"]
        annotations = meta(deployment).get("annotations") or {}
        if revision and annotations.get(REVISION_ANNOTATION) != str(revision):
            meta(deployment)["annotations"] = {**annotations, REVISION_ANNOTATION: str(revision)}
            deployment = await self.api.update(DEPLOYMENTS, namespace, deployment)
        ready = sum(int((r.get("status") or {}).get("readyReplicas", 0)) for r in own)
        status = plan_status(
            deployment,
            states.get(new_name, SetState(name="", wanted=0, replicas=0, available=0, pods=0)),
            [state for name, state in states.items() if name != new_name],
            ready,
            new_name,
            self.context.clock.now(),
        )
        if status != (deployment.get("status") or {}):
            deployment["status"] = status
            await self.api.update_status(DEPLOYMENTS, namespace, deployment)


def _revision(replica_set: Obj) -> str:
    value: str = (meta(replica_set).get("annotations") or {}).get(REVISION_ANNOTATION, "0")
    return value


def _replica_set(deployment: Obj, name: str, wanted_hash: str, revision: int) -> Obj:
    template = copy.deepcopy(deployment["spec"]["template"])
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: wanted_hash}
    template.setdefault("metadata", {})["labels"] = labels
    selector = copy.deepcopy(deployment["spec"].get("selector") or {})
    selector.setdefault("matchLabels", {})[HASH_LABEL] = wanted_hash
    spec: Obj = {"replicas": 0, "selector": selector, "template": template}
    if deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": meta(deployment)["namespace"],
            "labels": labels,
            "annotations": {REVISION_ANNOTATION: str(revision)},
            "ownerReferences": [owner_reference(deployment, DEPLOYMENTS)],
        },
        "spec": spec,
    }
