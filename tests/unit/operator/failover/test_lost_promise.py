"""A region that comes back without its data during a failover must not grant what it had promised to grant no more."""

from __future__ import annotations

from unit.operator.lossy_world import running
from unit.operator.world import FakeRegion


def test_a_region_that_was_fenced_and_lost_its_data_promises_again() -> None:
    world = running()
    world.cut.add("us-east")
    world.regions["us-east"].up = False  # the operator does not reach it, either
    while world.status.get("failover", {}).get("step") != "Waiting":
        world.run(0.1)
    assert world.regions["ap-south"].promised == 2
    world.regions["ap-south"] = FakeRegion("ap-south", 1)
    world.tenures.granted.pop("ap-south")
    world.cut.clear()  # and the old primary asks it for its tenure
    lost_at = world.seconds
    while world.status["primaryRegion"] == "us-east":
        world.run(0.1)  # write() and the promotion check that two never acknowledge
        assert world.regions["ap-south"].promised != 1
        assert world.seconds - lost_at < 15
    assert world.status["primaryRegion"] == "eu-west", "the one that has the data"
    world.regions["us-east"].up = True
    world.run(5)
    assert world.write()
    world.check_nothing_vanished()
