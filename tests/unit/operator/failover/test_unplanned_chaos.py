"""Arbitrary losses, partitions, crashes and two operators at once.

Never two promotions in one epoch, never one without a fenced majority and the wait, never two regions that acknowledge;
and in the end all is well again.
"""

from __future__ import annotations

import functools
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.domain.epochs import REVISION_JUMP
from rstore_api.domain.kubernetes import ABORT_FAILOVER, FAILOVER_MODE, FAILOVER_TO
from rstore_operator.facts.actions import Promote
from rstore_operator.facts.memory import Memory
from rstore_operator.failover.voting import electorate
from rstore_operator.planner.plan import Plan
from unit.operator.lossy_world import LossyWorld, clone, running

NAMES = {2: ["us-east", "eu-west"], 3: ["us-east", "eu-west", "ap-south"], 4: ["us-east", "eu-west", "ap-south", "sa"]}


@functools.cache
def _template(size: int) -> LossyWorld:
    return running([(name, 1) for name in NAMES[size]])


class Operator:
    """One process: it may stop between looking, recording and acting, for as long as it likes."""

    def __init__(self, world: LossyWorld) -> None:
        self.world = world
        self.memory = Memory()
        self.decided: tuple[Plan, int] | None = None
        self.actions: list[object] = []

    def go_on(self) -> None:
        if self.actions:
            action = self.actions.pop(0)
            if isinstance(action, Promote) and action.revision_jump and self.world.regions[action.region].up:
                assert action.revision_jump == REVISION_JUMP
                self._check_majority(action)
            self.world.do(action, self)
        elif self.decided is not None:
            (decided, version), self.decided = self.decided, None
            if self.world.record(decided, version):
                self.actions = list(decided.actions)
        else:
            self.decided = (self.world.decide(self), self.world.version)

    def _check_majority(self, action: Promote) -> None:
        world = self.world
        voters = electorate(world.observed(), Memory(), list(world.regions))
        promised = {name for name, region in world.regions.items() if region.promised >= action.epoch}
        promised |= {"\0witness"} if world.status.get("promisedEpoch", 0) >= action.epoch else set()
        assert voters.decides(promised), f"{action.region} is promoted in {action.epoch}, promised by {promised}"

    def restart(self) -> None:
        self.__init__(self.world)  # type: ignore[misc]


def chaos(world: LossyWorld, rng: random.Random, rounds: int) -> None:
    operators = [Operator(world), Operator(world)]
    names = list(world.regions)
    for _ in range(rounds):
        name = rng.choice(names)
        match rng.randrange(40):
            case 0:
                world.kill(name)
            case 1 | 2 | 3:
                world.revive(name)
            case 4:
                world.cut.symmetric_difference_update({name})
            case 5:
                world.regions[name].linked = not world.regions[name].linked
            case 6:
                world.regions[name].up = name not in world.dead and not world.regions[name].up
            case 7:
                rng.choice(operators).restart()
            case 8:
                world.annotations[FAILOVER_TO] = name
            case 9:
                world.annotations |= {FAILOVER_TO: name, FAILOVER_MODE: "forced"}
            case 10:
                world.annotations[ABORT_FAILOVER] = "true"
            case 11 | 12 | 13 | 14 | 15 | 16 | 17:
                world.now += timedelta(seconds=rng.choice([0.05, 0.2, 0.5, 1.0]))
                world.replicate()
            case 18 | 19 | 20:
                world.write()
            case _:
                operators[rng.randrange(3) % 2].go_on()
        world.write()
        world.check_epochs()
    for name in names:
        world.revive(name)
        world.regions[name].linked = True
    world.cut.clear()
    world.annotations.clear()
    world.memory = Memory()
    end = world.seconds + 40
    while world.seconds < end and ("failover" in world.status or world.status["phase"] != "Steady"):
        world.run(1.0)
    world.run(5.0)  # and stays so
    assert "failover" not in world.status, world.status["failover"]
    assert world.status["phase"] == "Steady"
    assert world.write()
    world.replicate()
    world.check_nothing_vanished()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([2, 3, 4]))
def test_two_operators_in_a_failing_world(seed: int, size: int) -> None:
    chaos(clone(_template(size)), random.Random(seed), 250)


@pytest.mark.parametrize("seed", range(4))
def test_long_histories(seed: int) -> None:
    chaos(clone(_template(3)), random.Random(seed), 1500)
