"""A status that was lost, or restored from an older copy, does not make an old primary of yesterday the primary."""

from __future__ import annotations

import copy

import pytest
from rstore_operator.facts.memory import Memory
from unit.operator.lossy_world import LossyWorld, running
from unit.operator.world import FakeRegion


def after_a_failover() -> tuple[LossyWorld, dict]:
    """The old primary answers again, alone; the new one does not. And the status before the failover."""
    world = running()
    before = copy.deepcopy(world.status)
    world.regions["us-east"].up = False
    world.cut.add("us-east")
    world.run(10)
    assert world.status["primaryRegion"] == "ap-south"
    world.regions["us-east"].up = True
    world.regions["ap-south"].up = False
    return world, before


@pytest.mark.parametrize("status", ["lost", "restored"])
def test_what_was_reported_to_another_region_counts(status: str) -> None:
    world, before = after_a_failover()
    world.memory = Memory()
    world.status = before if status == "restored" else {}
    decided = world.decide()
    assert (decided.status.primary_region, decided.status.epoch) == ("ap-south", 2)
    world.run(10)  # write() checks that two never acknowledge


def test_what_this_operator_saw_counts() -> None:
    world, before = after_a_failover()
    world.regions["us-east"].up = True
    world.regions["eu-west"].up = False
    world.status = before
    decided = world.decide()
    assert (decided.status.primary_region, decided.status.epoch) == ("ap-south", 2)
    assert decided.status.promised_epoch == 2


@pytest.mark.parametrize("empty", [{"us-east"}, {"us-east", "ap-south"}], ids=["the primary", "a majority"])
def test_the_first_epoch_has_begun_where_another_region_has_received_some_of_it(empty: set[str]) -> None:
    """The status is lost, and the primary comes back without its data, before there was a second epoch: it is not made
    primary anew."""
    world = running()
    world.write()
    world.run(2)
    data = list(world.regions["eu-west"].log)
    for name in empty:
        world.regions[name] = FakeRegion(name, world.regions[name].replicas)
    world.status, world.memory = {}, Memory()
    world.decide()
    decided = world.decide()
    assert (decided.status.primary_region, decided.status.epoch) == ("us-east", 1)
    world.run(30)
    assert world.status["primaryRegion"] in set(world.regions) - empty
    assert world.status["epoch"] == 2
    assert world.write()
    world.run(2)
    assert all(region.log[: len(data)] == data for region in world.regions.values())


def test_a_witness_that_has_lost_its_record_waits_for_what_it_may_have_granted() -> None:
    world = running([("us-east", 1), ("eu-west", 1)])
    world.regions["us-east"].up = False
    world.cut.add("us-east")
    world.run(10)
    assert world.status["primaryRegion"] == "eu-west"
    assert world.holds("eu-west")
    world.regions["us-east"].up = True
    world.regions["eu-west"].up = False  # it goes on for as long as it holds its tenure
    world.status, world.memory = {}, Memory()
    world.run(8)  # write() checks that two never acknowledge
    world.regions["eu-west"].up = True
    world.cut.clear()
    world.run(8)
    assert world.status["primaryRegion"] == "eu-west"
    assert world.write()
    world.check_nothing_vanished()
