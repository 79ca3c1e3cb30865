"""The status of PodDisruptionBudgets."""

from __future__ import annotations

from typing import Any

from localkube.controllers.engine import Controller
from localkube.controllers.informer import Change
from localkube.controllers.objects import (
    Key,
    controller_ref,
    is_deleting,
    labels_of,
    meta,
    pod_finished,
    pod_ready,
    scaled,
    selector_matches,
    set_condition,
)
from localkube.controllers.resources import PDBS, PODS, REPLICA_SETS, STATEFUL_SETS, Obj


class BudgetController(Controller):
    """Reconciles PodDisruptionBudgets (policy/v1)."""

    name = "disruption"

    def setup(self) -> None:
        """Wake by budgets and pods they select."""
        self.watch_own(PDBS)
        self.context.informers.of(PODS).subscribe(self._on_pod)
        self.context.informers.of(STATEFUL_SETS)
        self.context.informers.of(REPLICA_SETS)

    def _on_pod(self, _change: Change, _old: Obj | None, pod: Obj) -> None:
        for budget in self.context.informers.of(PDBS).items(meta(pod)["namespace"]):
            if selector_matches(budget["spec"].get("selector"), labels_of(pod)):
                self.enqueue((meta(budget)["namespace"], meta(budget)["name"]))

    async def reconcile(self, key: Key) -> float | None:
        """Write the status of one budget when it differs."""
        budget = self.context.informers.of(PDBS).copy_of(*key)
        if budget is None or is_deleting(budget):
            return None
        pods = [
            p
            for p in self.context.informers.of(PODS).items(key[0])
            if selector_matches(budget["spec"].get("selector"), labels_of(p)) and not pod_finished(p)
        ]
        status = plan_status(budget, pods, self._expected(pods), self.context.clock.now())
        if status != budget.get("status"):
            budget["status"] = status
            await self.api.update_status(PDBS, key[0], budget)
        return None

    def _expected(self, pods: list[Obj]) -> int:
        """Returns how many pods their controllers want in all; the number that exists where nothing controls them."""
        total, seen = 0, set()
        for pod in pods:
            ref = controller_ref(pod)
            resource = {"StatefulSet": STATEFUL_SETS, "ReplicaSet": REPLICA_SETS}.get((ref or {}).get("kind", ""))
            if ref is None or resource is None:
                total += 1
            elif ref["uid"] not in seen:
                seen.add(ref["uid"])
                owner = self.context.informers.of(resource).get(meta(pod)["namespace"], ref["name"])
                total += 1 if owner is None else int(owner["spec"].get("replicas", 1))
        return total


def plan_status(budget: Obj, pods: list[Obj], expected: int, now: float) -> dict[str, Any]:
    """Returns the budget's status for the pods it selects."""
    healthy = sum(pod_ready(p) and not is_deleting(p) for p in pods)
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        desired = max(0, expected - scaled(spec["maxUnavailable"], expected, round_up=True, default=0))
    else:
        desired = scaled(spec.get("minAvailable"), expected, round_up=True, default=1)
    allowed = max(0, healthy - desired) if expected else 0
    return {
        "observedGeneration": meta(budget).get("generation", 0),
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "conditions": set_condition(
            (budget.get("status") or {}).get("conditions") or [],
            "DisruptionAllowed",
            allowed > 0,
            now,
            reason="SufficientPods" if allowed > 0 else "InsufficientPods",
        ),
    }
