"""The store in memory with pods that come and go: StatefulSets with revisions, and containers that may not start."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, replace
from typing import Any

from rstore_api.domain.kubernetes import RESTARTED_AT
from rstore_operator.facts.actions import Apply, DeletePod
from rstore_operator.facts.observed import Observed, Pod, ReplicaStatus
from rstore_operator.planner.plan import Plan
from rstore_operator.specs.labels import digest
from unit.operator.world import SPEC, FakeRegion, World

ENDING_TICKS, STARTING_TICKS = 3, 4
BAD_IMAGE = "replica:nope"


@dataclass
class LivePod:
    """A pod; ``ticks`` until it is ready or, once it is terminating, gone."""

    uid: str
    revision: str
    image: str
    ticks: int
    terminating: bool = False

    @property
    def starts(self) -> bool:
        return self.image != BAD_IMAGE

    @property
    def ready(self) -> bool:
        return self.starts and not self.terminating and self.ticks == 0


class RollingWorld(World):
    """``step()`` is also a tick of the StatefulSets' controller and of the kubelets; it checks what a roll promises."""

    def __init__(self, sizes: dict[str, int], **spec: Any) -> None:
        wanted = copy.deepcopy(SPEC) | spec
        wanted["regions"] = [region for region in wanted["regions"] if region["name"] in sizes]
        for region in wanted["regions"]:
            region["replicas"] = sizes[region["name"]]
        super().__init__(wanted)
        self.pods: dict[tuple[str, int], LivePod] = {}
        self.uids = itertools.count(1)
        self.replaced: list[str] = []
        """Pods in the order in which the operator deleted them."""
        self.checks = False
        self.settle()
        for _ in range(20):
            self.step()
        self.checks = True

    def change(self, **resources: str) -> None:
        """One edit of the spec that changes the template of every region."""
        for region in self.spec["regions"]:
            region["resources"] = {"requests": resources}
        self.generation += 1

    # ------------------------------------------------------------------------------------------ the cluster
    def _apply(self, action: Apply) -> None:
        before = self.children.get(action.key)
        super()._apply(action)
        live = self.children[action.key] = copy.deepcopy(dict(self.children[action.key]))
        if action.key[0] == "StatefulSet":
            old = before["metadata"]["generation"] if before else 0
            live["metadata"]["generation"] = old + (before is None or before["spec"] != live["spec"])
            live["status"] = before.get("status", {}) if before else {}

    def delete_pod(self, action: DeletePod) -> None:
        pod = self.pods[action.region, int(action.name.rpartition("-")[2])]
        if pod.uid != action.uid or action.resource_version != self.version_of(pod):
            return  # a conflict
        pod.terminating, pod.ticks = True, ENDING_TICKS if pod.starts else 1
        self.replaced.append(action.name)

    def version_of(self, pod: LivePod) -> str:
        return f"{pod.uid}.{pod.ticks}.{pod.terminating}"

    def tick(self) -> None:
        """The controllers first, then the kubelets."""
        for name, region in self.regions.items():
            live = self.children["StatefulSet", f"orders-{name}"]
            template = live["spec"]["template"]
            image = template["spec"]["containers"][0]["image"]
            revision = digest(template)
            live["status"] = {"observedGeneration": live["metadata"]["generation"], "updateRevision": revision}
            for ordinal in range(region.replicas):
                pod = self.pods.get((name, ordinal))
                if pod is None:
                    self.pods[name, ordinal] = LivePod(f"u{next(self.uids)}", revision, image, STARTING_TICKS)
                elif pod.ticks:
                    pod.ticks -= 1
                elif pod.terminating:
                    del self.pods[name, ordinal]
            alive = self.alive(region)
            region.up = len(alive) > len(region.members) // 2
            if region.up and region.leading not in alive:
                region.leading = min(alive)

    def alive(self, region: FakeRegion) -> list[int]:
        """Ordinals whose replica runs and answers; one that is being stopped does so until its end."""
        pods = {ordinal: self.pods.get((region.name, ordinal)) for ordinal in region.members}
        return [o for o, pod in pods.items() if pod is not None and pod.starts and (pod.ready or pod.terminating)]

    def step(self, *, seconds: float = 0.1) -> Plan:
        decided = super().step(seconds=seconds)
        self.tick()
        if self.checks:
            self.check_roll()
        return decided

    def check_roll(self) -> None:
        """What holds at every moment of a roll."""
        self.check()
        away = [key for key, pod in self.pods.items() if not pod.ready]
        assert len(away) <= 1, f"more than one pod is away: {away}"
        primaries = [region for region in self.regions.values() if region.primary and region.writable]
        assert all(region.up for region in primaries), "the primary region stopped"

    # ------------------------------------------------------------------------------------------ looking
    def observed(self) -> Observed:
        seen = super().observed()
        regions = {
            name: replace(region, pods=tuple(self.seen_pods(self.regions[name])))
            for name, region in seen.regions.items()
        }
        return replace(seen, regions=regions)

    def seen_pods(self, region: FakeRegion) -> list[Pod]:
        return [
            Pod(
                f"orders-{region.name}-{ordinal}",
                region.name,
                f"10.0.0.{ordinal + 1}" if pod.starts else "",
                ready=pod.ready,
                terminating=pod.terminating,
                problem="" if pod.starts else f"ImagePullBackOff: {pod.image} is not there",
                uid=pod.uid,
                resource_version=self.version_of(pod),
                revision=pod.revision,
                image=pod.image,
                node="node-1",
            )
            for ordinal in range(region.replicas)
            if (pod := self.pods.get((region.name, ordinal))) is not None
        ]

    def _replicas(self, region: FakeRegion) -> tuple[ReplicaStatus, ...]:
        names = {f"orders-{region.name}-{ordinal}" for ordinal in self.alive(region)}
        return tuple(replace(status, ready=True) for status in super()._replicas(region) if status.name in names)

    # ------------------------------------------------------------------------------------------ waiting
    def condition(self, kind: str) -> dict[str, Any]:
        return next((item for item in self.status.get("conditions", ()) if item["type"] == kind), {})

    def unfinished(self) -> list[tuple[str, int]]:
        """The pods that are not of their StatefulSet's template, or not as the spec and the operator's image want them
        to be."""
        templates = {name: self.children["StatefulSet", f"orders-{name}"]["spec"]["template"] for name in self.regions}
        wanted = {one["name"]: one.get("resources", {"requests": {}})["requests"] for one in self.spec["regions"]}
        containers = {name: template["spec"]["containers"][0] for name, template in templates.items()}
        asked_at = self.annotations.get(RESTARTED_AT)
        return [
            (name, ordinal)
            for (name, ordinal), pod in self.pods.items()
            if pod.revision != digest(templates[name])
            or not wanted[name].items() <= containers[name]["resources"].get("requests", {}).items()
            or containers[name]["image"] != self.image
            or asked_at not in (None, templates[name]["metadata"]["annotations"].get(RESTARTED_AT))
        ]

    def roll(self, *, rounds: int = 600) -> None:
        """Let the operator run until all pods are as the spec wants them, and the phase is Steady."""
        for _ in range(rounds):
            self.step()
            self.write()
            if not self.unfinished() and self.status["phase"] == "Steady":
                return
        raise AssertionError(f"not rolled: {self.unfinished()}, {self.condition('Progressing')}, {self.replaced}")
