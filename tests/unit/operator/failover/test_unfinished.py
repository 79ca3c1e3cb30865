"""A failover whose record is lost is brought to its end by the promises that the regions keep."""

from __future__ import annotations

import pytest
from rstore_operator.facts.memory import Memory
from unit.operator.lossy_world import LossyWorld, running

TWO = [("us-east", 1), ("eu-west", 1)]


def fenced(regions: list[tuple[str, int]] | None) -> LossyWorld:
    """The others have promised the next epoch; then the primary is back, and the status is lost."""
    world = running(regions)
    world.kill("us-east")
    for _ in range(100):
        world.run(0.1)
        if world.status.get("failover", {}).get("step") == "Waiting":
            break
    else:
        raise AssertionError("nobody was fenced")
    world.revive("us-east")
    return world


@pytest.mark.parametrize("regions", [None, TWO])
def test_a_failover_goes_on_when_its_record_is_lost(regions: list[tuple[str, int]] | None) -> None:
    world = fenced(regions)
    world.status = {}
    world.memory = Memory()
    world.run(15)  # write() checks that two never acknowledge
    assert world.write()
    assert world.status["epoch"] > 1
    assert "promised an epoch above 1" in world.status["history"][-1]["reason"]
    assert world.status["history"][-1]["revisionsLost"] == 0
    epoch = world.status["epoch"]
    world.run(20)
    assert world.status["epoch"] == epoch
    world.check_nothing_vanished()


def test_also_where_failovers_do_not_begin_by_themselves() -> None:
    world = fenced(None)
    world.spec = {**world.spec, "failover": {"policy": "Manual"}}
    world.status = {}
    world.run(15)
    assert world.write()


def test_a_region_that_does_not_answer_is_waited_for() -> None:
    """It may be the primary of the epoch that was promised."""
    world = fenced(None)
    world.spec = {**world.spec, "failover": {"failoverDelay": "5s"}}
    world.regions["ap-south"].up = False
    world.status = {}
    world.memory = Memory()
    world.run(3)
    assert not world.status.get("failover")
    world.run(15)
    assert world.write()
