"""Machines that stand still for a while and go on: the primary region's, the operator's; and a network that flaps."""

from __future__ import annotations

import asyncio

import pytest
from e2e.faults.scene import LONG, OPERATOR
from e2e.operators import acting_pod

pytestmark = pytest.mark.runner


@pytest.mark.parametrize("seconds", [1, 3, 5, 12, 30] if LONG else [3])
async def test_a_primary_that_stood_still_acknowledges_nothing_on_an_old_tenure(scene, seconds):
    """At most one failover, and never two primaries: the judgement orders all acknowledgements by their revisions."""
    primary, epoch = await scene.primary(), (await scene.store.status())["epoch"]
    others = await scene.others(primary)
    async with (
        scene.writing([primary], timeout_seconds=2, name=b"inside/") as inside,
        scene.writing(others, name=b"outside/") as outside,
    ):
        with scene.hanging(primary):
            await asyncio.sleep(seconds)
        await outside.wait_acknowledged(50)
        await inside.wait_acknowledged(20)
        await scene.store.wait_steady()
    status = await scene.store.status()
    assert status["epoch"] - epoch <= 1
    await scene.judge(inside, outside)


@pytest.mark.parametrize("seconds", [3, 12] if LONG else [3])
async def test_an_operator_that_stood_still_replaces_nobody(scene, operator, seconds):
    epoch = (await scene.store.status())["epoch"]
    async with scene.writing() as load:
        with scene.hanging_pod(acting_pod(operator)):
            await asyncio.sleep(seconds)
            await load.wait_acknowledged(50)
        await load.wait_acknowledged(500)  # longer than a failover would take to begin
    await scene.store.wait_steady()
    assert (await scene.store.status())["epoch"] == epoch
    await scene.judge(load, nothing_quarantined=True)


async def test_a_network_that_flaps_makes_no_two_primaries_and_no_run_of_failovers(scene):
    """The links are cut for five seconds and whole for five seconds, again and again."""
    primary, epoch = await scene.primary(), (await scene.store.status())["epoch"]
    others = await scene.others(primary)
    rounds = 6 if LONG else 2
    async with (
        scene.writing([primary], timeout_seconds=2, name=b"inside/") as inside,
        scene.writing(others, name=b"outside/") as outside,
    ):
        for _ in range(rounds):
            scene.isolate(primary, *others, OPERATOR)
            await asyncio.sleep(5)
            scene.links.clear()
            await asyncio.sleep(5)
        await outside.wait_acknowledged(50)
        await scene.store.wait_steady()
    assert (await scene.store.status())["epoch"] - epoch <= 2, "once another region is primary, nothing has to move"
    await scene.judge(inside, outside)


async def test_requests_that_replace_each_other_are_all_answered(scene):
    """Ten times, the next target is named before the receipt of the last one is there."""
    order = await scene.store.regions()
    async with scene.writing() as load:
        for number in range(10):
            target = order[number % len(order)]
            await scene.store.kube(
                "annotate", "--overwrite", "rstore", scene.store.name, f"replicatedstore.io/failover-to={target}"
            )
            await load.wait_acknowledged(15)
        await scene.store.wait_steady(primary=target)

    async def answered() -> bool:
        return "replicatedstore.io/failover-to" not in (await scene.store.object())["metadata"].get("annotations", {})

    await scene.wait(answered, "annotation removed")
    await scene.judge(load, nothing_quarantined=True)
