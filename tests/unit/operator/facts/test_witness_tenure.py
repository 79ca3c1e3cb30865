"""With an even number of regions the operator grants: how long that may run outlives the operator, and the tenure."""

from __future__ import annotations

import dataclasses
import functools
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rstore_api.domain.kubernetes import ACCEPT_DATA_LOSS, FAILOVER_MODE, FAILOVER_TO
from rstore_operator.facts.actions import GrantTenure
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.witness_tenure import next_witness_tenure
from rstore_operator.resource.state import WitnessTenure
from unit.operator.lossy_world import LossyWorld, Operator, clone, running

OLD, NEW = 10.0, 1.0


def set_tenure(world: LossyWorld, seconds: float, *regions: str) -> None:
    """The spec says so at once; the replicas of these regions have begun anew with it."""
    world.spec = {**world.spec, "failover": {"leaseDuration": f"{seconds:g}s"}}
    world.generation += 1
    world.tenure_seconds |= dict.fromkeys(regions, seconds)


def record(world: LossyWorld) -> tuple[int, int]:
    found = world.status["witnessLease"]
    return found["grantsMs"], found["runsMs"]


@functools.cache
def _template() -> LossyWorld:
    world = running([("us-east", 1), ("eu-west", 1)])
    set_tenure(world, OLD, "us-east", "eu-west")
    world.run(2)
    return world


@pytest.mark.parametrize("reported", [["eu-west"], ["us-east", "eu-west"]], ids=["before", "after"])
def test_a_new_operator_waits_for_what_the_one_before_may_have_granted(reported: list[str]) -> None:
    """The primary is lost just before, or after, it knew of a shorter tenure; what it holds runs on."""
    world = clone(_template())
    world.cut.add("us-east")  # for long: the witness and the region itself keep its tenure
    world.run(12)
    assert world.write()
    set_tenure(world, NEW, *reported)
    world.run(0.3)
    world.memory = Memory()
    world.regions["us-east"].up = False
    world.annotations |= {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced", ACCEPT_DATA_LOSS: "1"}
    world.run(15)  # the world checks at each promotion that nobody holds a lower epoch's tenure
    assert world.status["primaryRegion"] == "eu-west"


def test_the_record_follows_a_lowered_tenure_once_the_old_one_has_run_out() -> None:
    world = clone(_template())
    assert record(world) == (10_000, 10_000)
    set_tenure(world, NEW, "us-east", "eu-west")
    lowered_at = world.seconds
    world.run(1)
    assert record(world) == (1_000, 10_000)
    while record(world) != (1_000, 1_000):
        world.run(0.1)
    assert 10.0 <= world.seconds - lowered_at < 11.5
    assert world.write(), "it was granted all the time"
    said = world.status["witnessLease"]
    world.run(12)
    assert world.status["witnessLease"] == said


def test_a_longer_tenure_is_persisted_before_anything_is_granted_under_it() -> None:
    world = clone(_template())
    set_tenure(world, 2 * OLD, "us-east", "eu-west")
    decided = world.decide()
    grant = next(action for action in decided.actions if isinstance(action, GrantTenure))
    assert grant.tenure_ms == 20_000
    assert decided.commit_first
    assert decided.status.witness_tenure.runs_ms == 20_000


def test_a_change_back_and_forth_starts_the_wait_anew() -> None:
    """Somebody else granted under the long tenure meanwhile: that this process saw the short one before is no help."""
    short = WitnessTenure(1_000, 10_000, change=4)
    world = clone(_template())
    world.status |= {"witnessLease": {"grantsMs": short.grants_ms, "runsMs": short.runs_ms, "change": short.change}}
    world.memory = dataclasses.replace(
        world.memory, witness_tenure_seen_at=(replace(short, change=2), world.seconds - 60)
    )
    world.tenure_seconds["us-east"] = 1.0
    assert world.decide().status.witness_tenure == short


@pytest.mark.parametrize(
    ("before", "asked_ms", "seen_seconds", "after"),
    [
        (WitnessTenure(), 3000, 0, WitnessTenure(3000, 3000, 1)),
        (WitnessTenure(3000, 3000, 1), 3000, 99, WitnessTenure(3000, 3000, 1)),
        (WitnessTenure(3000, 3000, 1), None, 99, WitnessTenure(3000, 3000, 1)),
        (WitnessTenure(3000, 3000, 1), 1000, 99, WitnessTenure(1000, 3000, 2)),
        (WitnessTenure(1000, 3000, 2), 1000, 3.05, WitnessTenure(1000, 3000, 2)),
        (WitnessTenure(1000, 3000, 2), 1000, 3.07, WitnessTenure(1000, 1000, 3)),
        (WitnessTenure(1000, 3000, 2), None, 3.07, WitnessTenure(1000, 1000, 3)),
        (WitnessTenure(1000, 3000, 2), 2000, 99, WitnessTenure(2000, 3000, 3)),
        (WitnessTenure(1000, 3000, 2), 0, 99, WitnessTenure(0, 3000, 3)),
    ],
)
def test_the_next_record(
    before: WitnessTenure, asked_ms: int | None, seen_seconds: float, after: WitnessTenure
) -> None:
    assert next_witness_tenure(before, asked_ms, seen_seconds) == after


@pytest.mark.parametrize("reported", [False, True])
def test_a_status_that_was_lost_leaves_what_the_regions_say(reported: bool) -> None:
    """The object was made anew over kept volumes: the region that answers still uses the long tenure, or remembers
    that it did just now."""
    world = clone(_template())
    world.longest["eu-west"] = OLD
    world.cut.add("us-east")
    world.run(12)
    world.status = {"storeId": world.status["storeId"], "preferredPrimary": "us-east"} | {
        name: world.status[name] for name in ("primaryRegion", "epoch")
    }
    world.memory = Memory()
    world.regions["us-east"].up = False
    world.annotations |= {FAILOVER_TO: "eu-west", FAILOVER_MODE: "forced", ACCEPT_DATA_LOSS: "1"}
    set_tenure(world, NEW, *(["eu-west"] if reported else []))
    world.run(20)
    assert world.status["primaryRegion"] == "eu-west"


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_no_tenure_outlives_a_promotion_whatever_operators_come_and_go(seed: int) -> None:
    """Tenures made longer and shorter replica by replica, two operators that forget, stall and see what was before."""
    rng = random.Random(seed)
    world = clone(_template())
    operators = [Operator(world), Operator(world)]
    names = sorted(world.regions)
    for _ in range(160):
        name = rng.choice(names)
        match rng.randrange(24):
            case 0 | 1:
                world.spec = {**world.spec, "failover": {"leaseDuration": f"{rng.choice([1, 3, 10])}s"}}
            case 2 | 3:
                tenure = world.spec["failover"]["leaseDuration"]
                world.tenure_seconds[name] = float(tenure.removesuffix("s"))
            case 4:
                world.regions[name].up = not world.regions[name].up
            case 5:
                world.cut ^= {name}
            case 6:
                rng.choice(operators).restart()
            case 7:
                world.annotations |= {FAILOVER_TO: name, FAILOVER_MODE: "forced"}
            case 8 | 9 | 10 | 11:
                world.now += timedelta(seconds=rng.choice([0.1, 0.5, 1.5, 4.0]))
                world.replicate()
            case _:
                operators[rng.randrange(3) % 2].go_on()
        world.write()
        world.check_epochs()


def _without_status() -> LossyWorld:
    """The status is lost while the region that may have a later epoch is down; the other one has come back."""
    world = clone(_template())
    world.cut |= {"us-east", "eu-west"}
    world.run(3 * OLD)  # nothing runs any more that was granted
    world.status = {}
    world.memory = Memory()
    world.cut = {"eu-west"}
    world.kill("eu-west")
    return world


@pytest.mark.parametrize("operators", [1, 3], ids=["by the same operator", "by operators that come and go"])
def test_a_witness_that_has_forgotten_its_promises_waits_for_every_region(operators: int) -> None:
    world = _without_status()
    for _ in range(operators):
        world.run(3 * OLD)
        assert not world.holds("us-east")
        assert world.status["storeId"]
        assert world.status["promisesLost"]
        world.memory = Memory()
    world.revive("eu-west")
    world.cut = set()
    world.run(3 * OLD)
    assert world.holds("us-east")
    assert world.write()
    assert "promisesLost" not in world.status
    world.cut = {"eu-west"}
    world.memory = Memory()
    world.run(3 * OLD)
    assert world.holds("us-east"), "what was promised is known again, whoever is down later"


def test_a_witness_that_has_forgotten_its_promises_helps_nobody_to_take_over() -> None:
    """Of four regions, the one that took over and one that promised it are silent: the epoch that the operator would
    choose has begun already."""
    world = running([("us-east", 1), ("eu-west", 1), ("ap-south", 1), ("sa-east", 1)])
    world.run(2)
    world.cut |= {"us-east", "sa-east"}
    world.regions["us-east"].up = world.regions["sa-east"].up = False
    world.run(3 * OLD)
    taker = world.status["primaryRegion"]
    assert taker in ("eu-west", "ap-south")
    assert world.write()
    world.status, world.memory = {}, Memory()
    world.cut |= {"eu-west", "ap-south"}
    world.regions["eu-west"].up = world.regions["ap-south"].up = False
    world.regions["us-east"].up = world.regions["sa-east"].up = True
    world.cut -= {"us-east", "sa-east"}
    world.annotations |= {FAILOVER_TO: "sa-east", FAILOVER_MODE: "forced", ACCEPT_DATA_LOSS: "1"}
    world.run(3 * OLD)
    assert not world.write()
    world.cut.clear()
    world.regions["eu-west"].up = world.regions["ap-south"].up = True
    world.run(3 * OLD)
    assert world.write()
