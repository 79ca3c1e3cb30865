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
from rstore_api.domain.kubernetes import ABORT_FAILOVER, FAILOVER_MODE, FAILOVER_TO
from rstore_operator.facts.memory import Memory
from unit.operator.lossy_world import LossyWorld, Operator, clone, running

NAMES = {2: ["us-east", "eu-west"], 3: ["us-east", "eu-west", "ap-south"], 4: ["us-east", "eu-west", "ap-south", "sa"]}


@functools.cache
def _template(size: int) -> LossyWorld:
    return running([(name, 1) for name in NAMES[size]])


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


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([2, 3, 4]))
def test_two_operators_in_a_failing_world(seed: int, size: int) -> None:
    chaos(clone(_template(size)), random.Random(seed), 250)


@pytest.mark.parametrize("seed", range(4))
def test_long_histories(seed: int) -> None:
    chaos(clone(_template(3)), random.Random(seed), 1500)
