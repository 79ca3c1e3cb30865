"""SemiSync: acknowledged writes survive the primary region, and writes that are not confirmed in time are reported."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from e2e.faults.scene import LONG, Scene
from rstore_testkit.loss import lose_region, restore_region

FAILOVERS = 20 if LONG else 2
Rule = Callable[..., Awaitable[None]]


@pytest.fixture
async def rule(scene: Scene) -> AsyncIterator[Rule]:
    """Sets ``spec.replication`` of the running store and waits until it is in force; Async again afterwards."""

    async def patch(replication: dict[str, Any] | None) -> None:
        text = json.dumps({"spec": {"replication": replication}})
        await scene.store.kube("patch", "rstore", scene.store.name, "--type=merge", "-p", text)

    async def in_force(**replication: object) -> None:
        await patch({"mode": "SemiSync", "minInSyncRegions": 1, **replication})
        await wait_in_sync(scene, "True", "SemiSync")

    yield in_force
    await patch(None)
    await wait_in_sync(scene, "True", "AllRegions")


async def wait_in_sync(scene: Scene, status: str, reason: str) -> None:
    """Waits until the condition InSync has that status and reason."""

    async def so() -> bool:
        condition = await scene.condition("InSync")
        return (condition.get("status"), condition.get("reason")) == (status, reason)

    await scene.wait(so, f"InSync {status} {reason}")


async def test_the_primary_region_is_killed_again_and_again_and_nothing_acknowledged_is_lost(scene, rule):
    await rule()
    async with scene.writing(per_region=2) as load:
        for _ in range(FAILOVERS):
            primary = await scene.primary()
            try:
                await lose_region(scene.store, primary)
                receipt = await scene.failed_over(primary)
                await load.wait_acknowledged(50)
            finally:
                await restore_region(scene.store, primary)
            assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
            assert not receipt.get("reason"), "nobody had to accept anything"
            await scene.store.wait_steady()
            await wait_in_sync(scene, "True", "SemiSync")
    await scene.judge(load, nothing_quarantined=True)


async def test_without_enough_regions_the_outcome_is_unknown_and_the_store_says_so(scene, rule):
    await rule(minInSyncRegions=2, semiSyncTimeout="1s")
    primary = await scene.primary()
    lost = (await scene.others(primary))[0]
    async with scene.writing([primary]) as load:
        try:
            await lose_region(scene.store, lost)
            await wait_in_sync(scene, "False", "SemiSyncTimeout")
            acknowledged, unknown = len(load.ledger.acknowledged), len(load.ledger.unknown)

            async def more_unknown() -> bool:
                return len(load.ledger.unknown) >= unknown + 2

            await scene.wait(more_unknown, "more writes of unknown outcome")
            assert len(load.ledger.acknowledged) == acknowledged, "the tenure is held, but one region of two is missing"
            await scene.store.wait_event("SemiSyncTimeout")
        finally:
            await restore_region(scene.store, lost)
        await wait_in_sync(scene, "True", "SemiSync")
        await load.wait_acknowledged(20)
        await scene.store.wait_steady(primary=primary)
    await scene.store.wait_event("InSyncAgain")
    await scene.judge(load, nothing_quarantined=True)


async def test_degraded_it_goes_on_and_says_so_until_the_regions_have_caught_up(scene, rule):
    await rule(minInSyncRegions=2, semiSyncTimeout="1s", onTimeout="Degrade")
    primary = await scene.primary()
    lost = (await scene.others(primary))[0]
    async with scene.writing([primary]) as load:
        try:
            await lose_region(scene.store, lost)
            await wait_in_sync(scene, "False", "SemiSyncDegraded")
            await load.wait_acknowledged(100)
            assert not load.ledger.unknown
            assert "inSyncRegions" not in await scene.store.status()
            await scene.store.wait_event("SemiSyncDegraded")
        finally:
            await restore_region(scene.store, lost)
        await wait_in_sync(scene, "True", "SemiSync")
        await scene.store.wait_steady(primary=primary)

    async def reported_to_the_witness() -> bool:  # with a round of the tenure, which comes after the condition
        return (await scene.store.status()).get("inSyncRegions") == 2

    await scene.wait(reported_to_the_witness, "that the operator keeps what the primary reported")
    await scene.judge(load, nothing_quarantined=True)
