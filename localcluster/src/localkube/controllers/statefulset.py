"""StatefulSets: stable pods with their claims, rolled from revision to revision."""

from __future__ import annotations

import copy
import logging

from localkube.apiserver.errors import ApiError
from localkube.controllers.engine import Controller
from localkube.controllers.objects import (
    Key,
    controller_ref,
    is_controlled_by,
    is_deleting,
    labels_of,
    meta,
    owner_reference,
    selector_matches,
    uid_of,
)
from localkube.controllers.resources import CONTROLLER_REVISIONS, PODS, PVCS, STATEFUL_SETS, Obj
from localkube.controllers.statefulset_plan import CreatePod, DeletePod, Revisions, plan_pods, plan_status
from localkube.controllers.statefulset_pods import (
    build_claims,
    build_pod,
    claim_owners,
    ordinal_of,
    pod_name,
    replicas_of,
    revision_name,
    revision_of,
    start_ordinal,
)

log = logging.getLogger(__name__)

COMPONENT = "statefulset-controller"


class StatefulSetController(Controller):
    """Reconciles StatefulSets (apps/v1)."""

    name = "statefulset"

    def setup(self) -> None:
        """Wake by sets, their pods, revisions, and claims of their pods."""
        self.watch_own(STATEFUL_SETS)
        self.watch_controlled(PODS, STATEFUL_SETS)
        self.context.informers.of(PVCS)
        self.context.informers.of(CONTROLLER_REVISIONS)

    async def reconcile(self, key: Key) -> float | None:
        """Carries out one step of one set."""
        cached = self.context.informers.of(STATEFUL_SETS).copy_of(*key)
        if cached is None or is_deleting(cached):
            return None
        sts = cached
        pods = await self._own_pods(sts)
        revisions = await self._revisions(sts)
        plan = plan_pods(sts, pods, revisions, self.context.clock.now())
        for action in plan.actions:
            if isinstance(action, CreatePod):
                await self._create(sts, action)
            else:
                await self._delete(sts, pods, action)
        for pod in pods:  # a claim may have been deleted while its pod was created
            ordinal = ordinal_of(sts, pod)
            if ordinal is not None and not pod["spec"].get("nodeName") and not is_deleting(pod):
                await self._create_claims(sts, ordinal)
        await self._retention(sts, pods)
        await self._write_status(sts, plan_status(sts, pods, revisions, self.context.clock.now()))
        await self._trim_history(sts, pods, revisions)
        return plan.again_seconds

    async def _own_pods(self, sts: Obj) -> list[Obj]:
        namespace, result = meta(sts)["namespace"], []
        for pod in self.context.informers.of(PODS).items(namespace):
            if is_controlled_by(pod, sts):
                result.append(pod)
            elif (
                controller_ref(pod) is None
                and not is_deleting(pod)
                and ordinal_of(sts, pod) is not None
                and selector_matches(sts["spec"].get("selector"), labels_of(pod))
            ):
                adopted = copy.deepcopy(pod)
                refs = meta(adopted).setdefault("ownerReferences", [])
                refs.append(owner_reference(sts, STATEFUL_SETS))
                result.append(await self.api.update(PODS, namespace, adopted))
        return result

    async def _revisions(self, sts: Obj) -> Revisions:
        """Make sure the wanted template is stored as a ControllerRevision; which one is current comes from status."""
        update = revision_name(sts, sts["spec"]["template"])
        existing = {meta(r)["name"]: r for r in self._stored_revisions(sts)}
        newest = max((int(r.get("revision", 0)) for r in existing.values()), default=0)
        if update not in existing:
            revision: Obj = {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": update,
                    "namespace": meta(sts)["namespace"],
                    "labels": {**(sts["spec"]["template"].get("metadata") or {}).get("labels", {})},
                    "ownerReferences": [owner_reference(sts, STATEFUL_SETS)],
                },
                "revision": newest + 1,
                "data": {"spec": {"template": {**copy.deepcopy(sts["spec"]["template"]), "$patch": "replace"}}},
            }
            try:
                await self.api.create(CONTROLLER_REVISIONS, meta(sts)["namespace"], revision)
            except ApiError as error:
                if not error.already_exists:
                    raise
        elif int(existing[update].get("revision", 0)) < newest:
            rolled_back = copy.deepcopy(existing[update])
            rolled_back["revision"] = newest + 1
            await self.api.update(CONTROLLER_REVISIONS, meta(sts)["namespace"], rolled_back)
        current = (sts.get("status") or {}).get("currentRevision") or update
        return Revisions(current=current, update=update)

    def _stored_revisions(self, sts: Obj) -> list[Obj]:
        items = self.context.informers.of(CONTROLLER_REVISIONS).items(meta(sts)["namespace"])
        return [r for r in items if is_controlled_by(r, sts)]

    def _template_of(self, sts: Obj, revision: str) -> tuple[Obj, str]:
        if revision != revision_name(sts, sts["spec"]["template"]):
            for stored in self._stored_revisions(sts):
                if meta(stored)["name"] == revision:
                    template = copy.deepcopy(stored["data"]["spec"]["template"])
                    template.pop("$patch", None)
                    return template, revision
        return sts["spec"]["template"], revision_name(sts, sts["spec"]["template"])

    async def _create(self, sts: Obj, action: CreatePod) -> None:
        namespace, name = meta(sts)["namespace"], pod_name(sts, action.ordinal)
        template, revision = self._template_of(sts, action.revision)
        await self._create_claims(sts, action.ordinal)
        try:
            await self.api.create(PODS, namespace, build_pod(sts, template, revision, action.ordinal))
            self._event(
                sts, "Normal", "SuccessfulCreate", f"Create Pod {name} in StatefulSet {meta(sts)['name']} successful"
            )
        except ApiError as error:
            if error.already_exists:
                live = await self.api.get(PODS, namespace, name)
                if is_controlled_by(live, sts):
                    return
            self._event(
                sts,
                "Warning",
                "FailedCreate",
                f"Create Pod {name} in StatefulSet {meta(sts)['name']} failed error: {error.message}",
            )
            raise

    async def _create_claims(self, sts: Obj, ordinal: int) -> None:
        """Create the claims of a pod that are not there; ApiError while one of them is being deleted."""
        namespace = meta(sts)["namespace"]
        for claim in build_claims(sts, ordinal):
            existing = self.context.informers.of(PVCS).get(namespace, claim["metadata"]["name"])
            if existing is not None and is_deleting(existing):
                raise ApiError(409, "Conflict", f"claim {claim['metadata']['name']} is being deleted")
            if existing is None:
                owners = claim_owners(sts, claim, None, condemned=False)
                if owners:
                    claim["metadata"]["ownerReferences"] = owners
                try:
                    await self.api.create(PVCS, namespace, claim)
                    self._event(sts, "Normal", "SuccessfulCreate", f"create Claim {claim['metadata']['name']} success")
                except ApiError as error:
                    if not error.already_exists:
                        raise

    async def _delete(self, sts: Obj, pods: list[Obj], action: DeletePod) -> None:
        namespace = meta(sts)["namespace"]
        ordinal = next((ordinal_of(sts, p) for p in pods if uid_of(p) == action.uid), None)
        if action.why == "scaled down" and ordinal is not None:
            await self._retention(sts, pods)
        try:
            await self.api.delete(PODS, namespace, action.name, uid=action.uid)
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise
            return
        self._event(
            sts,
            "Normal",
            "SuccessfulDelete",
            f"Delete Pod {action.name} in StatefulSet {meta(sts)['name']} successful",
        )

    async def _retention(self, sts: Obj, pods: list[Obj]) -> None:
        """Give every claim of the set's pods the owners its retention policy asks for."""
        if not sts["spec"].get("volumeClaimTemplates"):
            return
        namespace = meta(sts)["namespace"]
        wanted = range(start_ordinal(sts), start_ordinal(sts) + replicas_of(sts))
        by_ordinal = {o: p for p in pods if (o := ordinal_of(sts, p)) is not None}
        for ordinal in sorted({*wanted, *by_ordinal}):
            pod = by_ordinal.get(ordinal)
            for claim in build_claims(sts, ordinal):
                live = self.context.informers.of(PVCS).copy_of(namespace, claim["metadata"]["name"])
                if live is None or is_deleting(live):
                    continue
                owners = claim_owners(sts, live, pod, condemned=ordinal not in wanted)
                if owners != (meta(live).get("ownerReferences") or []):
                    meta(live)["ownerReferences"] = owners
                    await self.api.update(PVCS, namespace, live)

    async def _write_status(self, sts: Obj, status: Obj) -> None:
        if status != (sts.get("status") or {}):
            changed = copy.deepcopy(sts)
            changed["status"] = status
            await self.api.update_status(STATEFUL_SETS, meta(sts)["namespace"], changed)

    async def _trim_history(self, sts: Obj, pods: list[Obj], revisions: Revisions) -> None:
        limit = sts["spec"].get("revisionHistoryLimit")
        in_use = {revisions.current, revisions.update, *(revision_of(p) for p in pods)}
        old = [r for r in self._stored_revisions(sts) if meta(r)["name"] not in in_use]
        old.sort(key=lambda r: int(r.get("revision", 0)))
        for revision in old[: max(0, len(old) - (10 if limit is None else int(limit)))]:
            try:
                await self.api.delete(
                    CONTROLLER_REVISIONS, meta(sts)["namespace"], meta(revision)["name"], uid=uid_of(revision)
                )
            except ApiError as error:
                if not error.not_found:
                    raise

    def _event(self, sts: Obj, kind: str, reason: str, message: str) -> None:
        self.context.recorder.event(
            sts, "Warning" if kind == "Warning" else "Normal", reason, message, component=COMPONENT
        )
