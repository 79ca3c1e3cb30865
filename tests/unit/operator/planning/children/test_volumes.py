"""Volumes grow in place: claims are asked to, the StatefulSet is made anew around its pods, whatever comes between."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from rstore_kube.errors import ApiError
from rstore_operator.cluster.child_view import ChildView, read_claim
from rstore_operator.facts.actions import Apply, GrowClaim, Orphan
from rstore_operator.facts.observed import Claim, Observed
from unit.operator.world import REF, Remembers, World

KEY = ("StatefulSet", "orders-us-east")


class Grown(World):
    """A store with claims; ``expands`` says whether the StorageClass lets them grow."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = copy.deepcopy(self.spec)
        self.claims: dict[str, Claim] = {}
        self.expands = True
        self.orphaned = 0
        self.grown: list[str] = []

    def observed(self) -> Observed:
        for region in self.regions.values():
            live = self.children.get(("StatefulSet", f"orders-{region.name}"))
            if live is None:
                continue
            size = live["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
            for ordinal in range(region.replicas):
                name = f"data-orders-{region.name}-{ordinal}"
                self.claims.setdefault(name, Claim(name, size, size, bound=True))
        return replace(super().observed(), claims=dict(self.claims))

    def grow(self, action: GrowClaim) -> None:
        claim = self.claims[action.name]
        self.grown.append(action.name)
        if self.expands:
            self.claims[action.name] = replace(claim, requested=action.size, message="Resizing")
        else:
            self.claims[action.name] = replace(claim, refusal="only dynamically provisioned pvc can be resized")

    def do(self, action: object, operator: Remembers | None = None) -> None:
        if isinstance(action, Orphan):
            self.orphaned += 1
            pods = self.regions[action.key[1].removeprefix("orders-")].replicas
            super().do(action, operator)
            assert self.regions[action.key[1].removeprefix("orders-")].replicas == pods
            return
        if isinstance(action, Apply) and action.key in self.children and action.key[0] == "StatefulSet":
            before = self.children[action.key]["spec"]["volumeClaimTemplates"]
            assert action.manifest["spec"]["volumeClaimTemplates"] == before, "the API server refuses that"
        super().do(action, operator)

    def resize(self) -> None:
        self.claims = {
            name: replace(claim, capacity=claim.requested, message="") for name, claim in self.claims.items()
        }

    def want(self, size: str, region: int = 0) -> None:
        self.spec["regions"][region]["storage"] = {"size": size}
        self.generation += 1

    def condition(self, kind: str) -> str:
        return next((item["message"] for item in self.status["conditions"] if item["type"] == kind), "")

    def template(self) -> str:
        spec = self.children[KEY]["spec"]["volumeClaimTemplates"][0]["spec"]
        return str(spec["resources"]["requests"]["storage"])


@pytest.fixture
def world() -> Grown:
    world = Grown()
    world.settle()
    return world


def test_claims_and_template_grow_and_pods_stay(world: Grown) -> None:
    epoch = world.status["epoch"]
    world.want("20Gi")
    world.settle()
    assert world.grown == [f"data-orders-us-east-{i}" for i in range(3)]
    assert (world.orphaned, world.template()) == (1, "20Gi")
    assert world.claims["data-orders-eu-west-0"].requested == "10Gi"
    assert "data-orders-us-east-0 has 10Gi (Resizing)" in world.condition("VolumesGrowing")
    world.resize()
    world.settle()
    assert world.condition("VolumesGrowing") == ""
    assert world.status["epoch"] == epoch
    assert world.status["phase"] == "Steady"
    assert world.decide().actions == ()


@pytest.mark.parametrize("before_crash", range(8))
def test_a_crash_between_any_two_steps_resumes(world: Grown, before_crash: int) -> None:
    world.want("20Gi")
    left = before_crash
    while left:
        decided = world.decide()
        assert world.record(decided, world.version)
        if not decided.actions:
            break
        for action in decided.actions[:left]:
            world.do(action)
        left -= min(left, len(decided.actions))
    world.settle()
    assert {claim.requested for name, claim in world.claims.items() if "us-east" in name} == {"20Gi"}
    assert (world.orphaned, world.template()) == (1, "20Gi")


def test_claims_that_a_person_expanded_are_left_alone(world: Grown) -> None:
    name = "data-orders-us-east-1"
    world.claims[name] = replace(world.claims[name], requested="50Gi", capacity="50Gi")
    world.settle()
    assert world.grown == []
    assert world.template() == "10Gi"
    world.want("20Gi")
    world.settle()
    assert world.claims[name].requested == "50Gi"
    assert name not in world.grown
    assert world.template() == "20Gi"


@pytest.mark.parametrize("size", ["10240Mi", "10737418240", "10Gi"])
def test_the_same_size_in_another_spelling_changes_nothing(world: Grown, size: str) -> None:
    world.want(size)
    world.settle()
    assert (world.grown, world.orphaned, world.template()) == ([], 0, "10Gi")
    assert world.status["phase"] == "Steady"


def test_a_class_that_does_not_expand_is_reported_and_replicas_to_come_get_the_new_size(world: Grown) -> None:
    world.expands = False
    world.want("20Gi")
    world.settle()
    degraded = next(item for item in world.status["conditions"] if item["type"] == "Degraded")
    assert degraded["reason"] == "VolumesNotGrown"
    assert "data-orders-us-east-0 has 10Gi: only dynamically provisioned pvc can be resized" in degraded["message"]
    assert len(world.grown) == 3, "a refusal is not answered by asking again at once"
    assert world.template() == "20Gi"
    assert ("VolumesNotGrown") in [reason for reason, _ in world.events]
    world.expands = True
    world.claims = {name: replace(claim, refusal="") for name, claim in world.claims.items()}
    world.settle()
    world.resize()
    world.settle()
    assert next(item for item in world.status["conditions"] if item["type"] == "Degraded")["status"] == "False"


def test_a_claim_that_is_not_bound_waits(world: Grown) -> None:
    name = "data-orders-us-east-2"
    world.claims[name] = replace(world.claims[name], bound=False, capacity="")
    world.want("20Gi")
    world.settle()
    assert name not in world.grown
    assert f"{name} is not bound" in world.condition("VolumesGrowing")


def test_replicas_that_come_while_volumes_grow_come_one_by_one(world: Grown) -> None:
    world.want("20Gi")
    world.spec["regions"][0]["replicas"] = 5
    for _ in range(80):
        world.step()
        region = world.regions["us-east"]
        region.learners = []
        assert region.replicas <= len(region.members) + 1, "further pods before the last one is a member"
    world.resize()
    world.settle()
    assert world.regions["us-east"].members == [0, 1, 2, 3, 4]
    assert world.template() == "20Gi"
    assert world.claims["data-orders-us-east-4"].requested == "20Gi"


@pytest.mark.parametrize("storage_class", ["fast", "", None])
def test_a_statefulset_of_another_class_is_made_anew_and_no_claim_is_touched(
    world: Grown, storage_class: str | None
) -> None:
    world.spec["regions"][0]["storage"] = {"size": "10Gi", "storageClassName": "before"}
    for _ in range(4):
        world.step()
    world.orphaned = 0
    world.spec["regions"][0]["storage"] = {"size": "20Gi"}
    if storage_class is not None:
        world.spec["regions"][0]["storage"]["storageClassName"] = storage_class
    world.claims = {name: replace(claim, storage_class="before") for name, claim in world.claims.items()}
    decided = [world.step() for _ in range(4)]
    assert world.orphaned == 1
    spec = world.children[KEY]["spec"]["volumeClaimTemplates"][0]["spec"]
    assert (spec.get("storageClassName"), spec["resources"]["requests"]["storage"]) == (storage_class, "20Gi")
    grows = [action for plan in decided for action in plan.actions if isinstance(action, GrowClaim)]
    assert bool(grows) is (storage_class is None), "what is replaced is not asked to grow"


def test_a_statefulset_that_is_being_deleted_is_waited_for(world: Grown) -> None:
    world.want("20Gi")
    world.children[KEY]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    decided = world.decide()
    assert not [action for action in decided.actions if isinstance(action, Orphan)]
    assert KEY not in [action.key for action in decided.actions if isinstance(action, Apply)]


def test_what_the_watch_shows_of_a_claim() -> None:
    body = {
        "metadata": {"name": "data-orders-a-0", "resourceVersion": "7"},
        "spec": {"resources": {"requests": {"storage": "2Gi"}}},
        "status": {
            "phase": "Bound",
            "capacity": {"storage": "1Gi"},
            "conditions": [
                {
                    "type": "FileSystemResizePending",
                    "status": "True",
                    "message": "Waiting for user to (re-)start a pod",
                },
                {"type": "Resizing", "status": "False"},
            ],
        },
    }
    claim = read_claim(body)
    assert (claim.requested, claim.capacity, claim.bound, claim.resource_version) == ("2Gi", "1Gi", True, "7")
    assert claim.message == "FileSystemResizePending: Waiting for user to (re-)start a pod"
    assert not read_claim({"metadata": {"name": "x"}}).bound


def test_a_refusal_is_remembered_for_a_while() -> None:
    clock = [0.0]
    view = ChildView(REF, lambda: clock[0])
    view.growth_refused("a", str(ApiError(403, "Forbidden", "no")))
    body = {"metadata": {"name": "a"}}
    assert view.claims([body])["a"].refusal == "no"
    clock[0] = 61.0
    assert view.claims([body])["a"].refusal == ""
