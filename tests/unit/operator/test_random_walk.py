"""Edits of the spec, requests, losses, errors of the API and operators that end, in any order: the store comes to rest.

Each walk is reproduced by its seed. ``RSTORE_WALKS`` is how many there are.
"""

from __future__ import annotations

import copy
import functools
import os
import random
from datetime import timedelta
from typing import Any

import pytest
from rstore_api.domain.kubernetes import (
    ABORT_FAILOVER,
    ACCEPT_DATA_LOSS,
    FAILOVER_DRY_RUN,
    FAILOVER_MODE,
    FAILOVER_TO,
    PAUSED,
)
from rstore_operator.facts.actions import AddMember, Delete, HandOver, RemoveMember
from rstore_operator.planner.plan import Plan
from unit.operator.lossy_world import LossyWorld, Operator, running
from unit.operator.planner.test_plan import condition
from unit.operator.world import Remembers

WALKS = int(os.environ.get("RSTORE_WALKS", "200"))
MOVES = 55
REST_SECONDS = 120.0
SPARE = "sa"
SHAPES = {
    "two": [("us-east", 1), ("eu-west", 1)],
    "three": [("us-east", 3), ("eu-west", 1), ("ap-south", 1)],
    "semi sync": [("us-east", 1), ("eu-west", 1), ("ap-south", 1)],
}


@functools.cache
def _template(shape: str) -> LossyWorld:
    replication = {"mode": "SemiSync"} if shape == "semi sync" else None
    return running(SHAPES[shape], replication=replication, failback="Automatic", requestTimeout="20s")


class Walk:
    """One store, two operators, and everybody who acts on it."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.world = world = copy.deepcopy(_template(rng.choice(sorted(SHAPES))))
        self.operators = [Operator(world), Operator(world)]
        self.valid: dict[str, Any] = copy.deepcopy(world.spec)
        self.gone: set[tuple[int, int]] = set()
        """What regions held that left the store."""
        self.api_fails = 0.0
        self._record, self._do = world.record, world.do
        world.record = self.record  # type: ignore[method-assign]
        world.do = self.do  # type: ignore[method-assign]

    # ------------------------------------------------------------------------------------------ the API server
    def record(self, decided: Plan, version: int) -> bool:
        """Requests fail before or after they were carried out."""
        draw = self.rng.random()
        if draw < self.api_fails / 2:
            return False
        return self._record(decided, version) and draw >= self.api_fails

    def do(self, action: object, operator: Remembers | None = None) -> None:
        world = self.world
        if isinstance(action, Delete) and action.key[0] == "StatefulSet" and action.key in world.children:
            self.gone |= set(world.regions[action.key[1].removeprefix("orders-")].log)
        region = getattr(action, "region", None)
        if isinstance(region, str) and region not in world.regions:
            return  # a call to a region that has just gone
        if isinstance(action, Delete) and action.key not in world.children:
            return  # which is no error
        if isinstance(action, AddMember | RemoveMember | HandOver) and not self._takes(action):
            return
        self._do(action, operator)

    def _takes(self, action: AddMember | RemoveMember | HandOver) -> bool:
        """Whether the region's leader does not refuse the change, as another operator has made it or begun the next."""
        region, ordinal = self.world.regions[action.region], int(action.name.rpartition("-")[2])
        if region.learners:
            return False
        if isinstance(action, AddMember):
            return ordinal < region.replicas and ordinal not in region.members
        return ordinal in region.members and (isinstance(action, HandOver) or ordinal != region.leading)

    # ------------------------------------------------------------------------------------------ people
    def edit(self) -> None:
        """The next valid spec."""
        rng, spec, world = self.rng, copy.deepcopy(self.valid), self.world
        regions = spec["regions"]
        names = [region["name"] for region in regions]
        match rng.randrange(6):
            case 0 | 1:
                rng.choice(regions)["replicas"] = rng.choice([1, 2, 3])
            case 2 if SPARE not in names:
                regions.append({"name": SPARE, "replicas": 1})
            case 3 if len(names) > 2:
                leaving = rng.choice([name for name in names if name != spec["primaryRegion"]])
                regions[:] = [region for region in regions if region["name"] != leaving]
            case 4:
                spec["primaryRegion"] = rng.choice(names)
            case _:
                spec["failover"] = {**spec["failover"], "policy": rng.choice(["Automatic", "Automatic", "Manual"])}
        self.valid = spec
        self._use(spec)
        if rng.random() < 0.15:
            self._use({**spec, "primaryRegion": "nowhere"})
        world.compare_objects = True

    def _use(self, spec: dict[str, Any]) -> None:
        self.world.spec = spec
        self.world.generation += 1

    def ask(self) -> None:
        rng, annotations = self.rng, self.world.annotations
        name = rng.choice([*self.world.regions, "mars"])
        match rng.randrange(8):
            case 0 | 1 | 2:
                annotations[FAILOVER_TO] = name
            case 3:
                annotations |= {FAILOVER_TO: name, FAILOVER_MODE: rng.choice(["forced", "forced", "frced"])}
            case 4:
                annotations[ABORT_FAILOVER] = rng.choice(["true", "yes"])
            case 5:
                annotations[FAILOVER_DRY_RUN] = name
            case 6:
                annotations |= {FAILOVER_TO: name, FAILOVER_MODE: "forced", ACCEPT_DATA_LOSS: str(rng.randrange(4))}
            case _:
                annotations[PAUSED] = "true"

    # ------------------------------------------------------------------------------------------ the world
    def hurt(self) -> None:
        rng, world = self.rng, self.world
        name = rng.choice(sorted(world.regions))
        match rng.randrange(7):
            case 0:
                world.kill(name)
            case 1:
                world.cut.symmetric_difference_update({name})
            case 2:
                world.regions[name].linked = not world.regions[name].linked
            case 3:
                world.regions[name].up = name not in world.dead and not world.regions[name].up
            case 4:
                world.regions[name].unready = rng.randrange(2)
            case 5:
                rng.choice(self.operators).restart()
            case _:
                self.api_fails = rng.choice([0.0, 0.3])

    def pass_time(self) -> None:
        world = self.world
        world.now += timedelta(seconds=self.rng.choice([0.05, 0.2, 0.5, 1.0, 3.0]))
        for region in world.regions.values():
            region.learners.clear()
        world.replicate()

    def go(self) -> None:
        """Everything at once, then peace."""
        rng, world = self.rng, self.world
        for _ in range(MOVES):
            draw = rng.random()
            if draw < 0.05:
                self.edit()
            elif draw < 0.12:
                self.ask()
            elif draw < 0.20:
                self.hurt()
            elif draw < 0.26:
                world.annotations.pop(PAUSED, None)
                for name in sorted(world.dead & world.regions.keys()):
                    world.revive(name)
            elif draw < 0.45:
                self.pass_time()
            else:
                operator = rng.choice(self.operators)
                for _ in range(rng.randrange(1, 6)):
                    operator.go_on()
            world.write()
            world.check_epochs()

    def rest(self) -> None:
        """All is repaired and nothing is asked for: within a bounded time the store is as its spec wants it."""
        world = self.world
        self.api_fails = 0.0
        for name in list(world.dead):
            world.dead.discard(name)
        for region in world.regions.values():
            region.up, region.linked, region.unready = True, True, 0
        world.cut.clear()
        for name in (PAUSED, ACCEPT_DATA_LOSS):
            world.annotations.pop(name, None)
        self.valid["failover"] = {**self.valid["failover"], "policy": "Automatic"}
        self._use(self.valid)
        world.compare_objects = True
        end = world.seconds + REST_SECONDS
        while not self.is_well():
            assert world.seconds < end, (world.status["phase"], world.annotations, world.status["conditions"])
            world.step(seconds=1.0)
            for region in world.regions.values():
                region.learners.clear()
                region.up = True
            world.renew()
            world.check_epochs()

    def is_well(self) -> bool:
        world = self.world
        wanted = {region["name"]: region["replicas"] for region in self.valid["regions"]}
        return (
            world.status["phase"] == "Steady"
            and world.status["observedGeneration"] == world.generation
            and "failover" not in world.status
            and not world.annotations
            and {name: len(region.members) for name, region in world.regions.items()} == wanted
        )

    def check(self) -> None:
        world = self.world
        for kind in ("Reconciling", "Stalled", "Degraded"):
            assert condition(world, kind)["status"] == "False", condition(world, kind)
        assert condition(world, "Ready")["status"] == "True"
        assert "pendingRequest" not in world.status
        assert world.write()
        world.replicate()
        newest = max((region for region in world.regions.values() if region.primary), key=lambda region: region.epoch)
        missing = set(world.acked) - set(newest.log)
        assert missing <= set(world.quarantine) | self.gone, "acknowledged writes are neither there nor in quarantine"
        for receipt in world.status.get("history", []):
            if receipt.get("acknowledgedKept"):
                assert receipt["revisionsLost"] == 0


@pytest.mark.parametrize("start", range(0, WALKS, 20))
def test_a_store_comes_to_rest_after_a_random_walk(start: int) -> None:
    for seed in range(start, min(start + 20, WALKS)):
        walk = Walk(seed)
        try:
            walk.go()
            walk.rest()
            walk.check()
        except Exception as error:
            raise AssertionError(f"walk {seed}: {type(error).__name__}: {error}") from error
