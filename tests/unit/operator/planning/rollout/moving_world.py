"""The store in memory with volumes: a pod keeps its claim, and a replica on an empty volume is filled by its region."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rstore_operator.facts.actions import Apply, DeletePod, Orphan
from rstore_operator.facts.observed import Claim, Observed, Pod, ReplicaStatus
from unit.operator.planning.rollout.rolling_world import RollingWorld
from unit.operator.world import FakeRegion, Remembers, World

FILLING_TICKS = 3


class MovingWorld(RollingWorld):
    """Claims are made with their pods, by the template of the StatefulSet; one that is deleted goes with its pod."""

    def __init__(self, sizes: dict[str, int], **spec: Any) -> None:
        self.volumes: dict[str, Claim] = {}
        self.filling: dict[tuple[str, int], int] = {}
        """By replica without data, for how many ticks it lacks them."""
        self.emptied: list[str] = []
        """The claims that the operator deleted, in their order."""
        super().__init__(sizes, **spec)

    def use_class(self, storage_class: str | None, *regions: str, size: str = "10Gi") -> None:
        """One edit of the spec; of all regions where none is named."""
        for region in self.spec["regions"]:
            if not regions or region["name"] in regions:
                named = {} if storage_class is None else {"storageClassName": storage_class}
                region["storage"] = {"size": size, **named}
        self.generation += 1

    def classes(self, region: str) -> list[str]:
        """The classes of the volumes of all replicas that the spec wants there, by ordinal."""
        wanted = next(one["replicas"] for one in self.spec["regions"] if one["name"] == region)
        claims = (self.volumes.get(f"data-orders-{region}-{ordinal}") for ordinal in range(wanted))
        return [claim.storage_class if claim is not None else "missing" for claim in claims]

    def do(self, action: object, operator: Remembers | None = None) -> None:
        if isinstance(action, Orphan):
            del self.children[action.key]
            self.actions_done += 1
            return
        if isinstance(action, Apply) and action.key[0] == "StatefulSet" and action.key in self.children:
            before = self.children[action.key]["spec"]["volumeClaimTemplates"]
            assert action.manifest["spec"]["volumeClaimTemplates"] == before, "the API server refuses that"
        super().do(action, operator)

    def delete_pod(self, action: DeletePod) -> None:
        if action.claim:
            claim = self.volumes[action.claim]
            assert claim.uid == action.claim_uid
            if not claim.terminating:
                self.emptied.append(action.claim)
                self._check_rest(action)
            self.volumes[action.claim] = replace(claim, terminating=True)
        super().delete_pod(action)

    def _check_rest(self, action: DeletePod) -> None:
        """Nothing is lost: the rest of the region is a majority of voters that hold their data and are ready."""
        region, ordinal = self.regions[action.region], int(action.name.rpartition("-")[2])
        assert not self.filling, "one at a time in the whole store"
        rest = [other for other in region.members if other != ordinal and other not in region.learners]
        assert len(rest) > len(region.members) // 2
        assert all(self.pods[region.name, other].ready for other in rest)
        assert region.leading != ordinal, "leadership was handed on before"

    def tick(self) -> None:
        missing = [name for name in self.regions if ("StatefulSet", f"orders-{name}") not in self.children]
        if missing:
            return  # its controller does nothing while there is none
        for key in list(self.pods):
            region = self.regions[key[0]]
            pod = self.pods[key]
            claim = self.volumes.get(f"data-orders-{key[0]}-{key[1]}")
            gone = pod.terminating and pod.ticks == 0
            if gone and claim is not None and claim.terminating:
                del self.volumes[claim.name]
                self.filling[key] = FILLING_TICKS
                region.learners = [key[1]] if key[1] in region.members else []
        super().tick()
        for name, region in self.regions.items():
            self.pods = {key: pod for key, pod in self.pods.items() if key[0] != name or key[1] < region.replicas}
            for ordinal in range(region.replicas):
                self._volume_of(name, ordinal)
            for ordinal in list(region.learners):
                pod = self.pods.get((name, ordinal))
                left = self.filling.setdefault((name, ordinal), FILLING_TICKS)
                if pod is None or pod.terminating or (pod.ticks == 0 and left == 0):
                    if pod is not None and not pod.terminating:
                        region.learners.remove(ordinal)
                        del self.filling[name, ordinal]
                elif pod.ticks == 0:
                    self.filling[name, ordinal] = left - 1

    def _volume_of(self, region: str, ordinal: int) -> None:
        name = f"data-orders-{region}-{ordinal}"
        if name in self.volumes or (region, ordinal) not in self.pods:
            return
        spec = self.children["StatefulSet", f"orders-{region}"]["spec"]["volumeClaimTemplates"][0]["spec"]
        size, of_class = spec["resources"]["requests"]["storage"], spec.get("storageClassName", "slow")
        self.volumes[name] = Claim(name, size, size, bound=True, storage_class=of_class, uid=f"c{next(self.uids)}")

    def observed(self) -> Observed:
        return replace(super().observed(), claims=dict(self.volumes))

    def seen_pods(self, region: FakeRegion) -> list[Pod]:
        return [
            replace(pod, ready=pod.ready and (region.name, int(pod.name.rpartition("-")[2])) not in self.filling)
            for pod in super().seen_pods(region)
        ]

    def _replicas(self, region: FakeRegion) -> tuple[ReplicaStatus, ...]:
        """A pod that is not in the group yet answers as well."""
        new = {o for o in range(region.replicas) if o not in region.members and self._is_ready(region.name, o)}
        names = {f"orders-{region.name}-{ordinal}" for ordinal in {*self.alive(region), *new}}
        return tuple(replace(one, ready=True) for one in World._replicas(self, region) if one.name in names)

    def _is_ready(self, region: str, ordinal: int) -> bool:
        pod = self.pods.get((region, ordinal))
        return pod is not None and pod.ready

    def move(self, *, rounds: int = 300) -> None:
        """Let the operator run until nothing is left to do, and the phase is Steady."""
        for _ in range(rounds):
            self.step()
            self.write()
            sizes = {name: region.replicas for name, region in self.regions.items()}
            wanted = {region["name"]: region["replicas"] for region in self.spec["regions"]}
            named = {
                region["name"]: region.get("storage", {}).get("storageClassName") for region in self.spec["regions"]
            }
            moved = all(one is None or set(self.classes(name)) == {one} for name, one in named.items())
            if moved and sizes == wanted and self.status["phase"] == "Steady":
                return
        raise AssertionError(f"not moved: {self.volumes}, {self.condition('Progressing')}, {self.emptied}")
