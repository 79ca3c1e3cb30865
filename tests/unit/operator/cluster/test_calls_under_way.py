"""A call to a region that hangs holds up neither the calls to others nor the next step."""

from __future__ import annotations

import asyncio

from rstore_operator.cluster.calls_under_way import MAX_OF_A_KIND, CallsUnderWay
from rstore_operator.facts.actions import Fence, HandOver, RegionCall, Target

TARGET = Target("orders-eu-0", "10.0.0.1", "orders-eu-0")


def fence(region: str, epoch: int = 2) -> Fence:
    return Fence(region, TARGET, "store", epoch)


class Regions:
    """Calls to regions that hang are answered once they run again."""

    def __init__(self, *hanging: str) -> None:
        self.run_again = asyncio.Event()
        self.hanging = set(hanging)
        self.called: list[RegionCall] = []

    async def call(self, action: RegionCall) -> RegionCall:
        self.called.append(action)
        if action.region in self.hanging:
            await self.run_again.wait()
        return action


async def test_the_answers_of_others_are_returned_while_a_region_hangs() -> None:
    regions = Regions("eu")
    calls = CallsUnderWay(regions.call)
    assert await calls.run([fence("eu"), fence("us")], patience_seconds=0.01) == [fence("us")]
    assert calls.active
    assert calls.includes(Fence, "eu")
    assert not calls.includes(HandOver, "eu")
    assert await calls.run([fence("eu"), fence("us")], patience_seconds=0.01) == [fence("us")]
    assert regions.called == [fence("eu"), fence("us"), fence("us")], "an equal call is not started again"
    regions.run_again.set()
    assert await calls.run([fence("eu")], patience_seconds=5) == [fence("eu")]
    assert not calls.active


async def test_a_late_answer_is_returned_though_nobody_asks_any_more() -> None:
    regions = Regions("eu")
    calls = CallsUnderWay(regions.call)
    await calls.run([fence("eu")], patience_seconds=0)
    regions.run_again.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await calls.run([], patience_seconds=5) == [fence("eu")]


async def test_calls_to_one_region_are_bounded() -> None:
    regions = Regions("eu")
    calls = CallsUnderWay(regions.call)
    for epoch in range(10):
        await calls.run([fence("eu", epoch), fence("us", epoch)], patience_seconds=0.001)
    assert sum(call.region == "eu" for call in regions.called) == MAX_OF_A_KIND
    await calls.close()
    assert not calls.active


async def test_what_is_under_way_ends_when_the_store_is_left() -> None:
    regions = Regions("eu")
    calls = CallsUnderWay(regions.call)
    await calls.run([fence("eu")], patience_seconds=0)
    await calls.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "Fence eu"] == []
