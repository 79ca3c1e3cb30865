"""Every pod of the primary region is killed under load and kept away: another region takes over by itself."""

from __future__ import annotations

import time

import pytest
from rstore_cli.demo.load import Load
from rstore_cli.demo.loss import account, lose_region, restore_region, tolerable, wait_failed_over
from rstore_cli.demo.store import Store

GAP_SECONDS = 20
"""Generous: the machine may be busy; the receipt has the measured gap."""


async def check_accounted(store: Store, load: Load, prefix: bytes) -> None:
    """All regions are equal, and every acknowledged write is in them or, known to be there, in quarantine."""
    revision = await store.wait_converged(timeout_seconds=60)
    verdicts = await store.judge(load.ledger, prefix)
    assert all(tolerable(verdict) for verdict in verdicts.values()), verdicts
    missing = {key for verdict in verdicts.values() for key in verdict.lost}
    assert account(load.ledger, missing, await store.status()).lost == ()
    assert len({found.hash for found in await store.hashes(revision)}) == 1


@pytest.mark.timeout(300)
async def test_another_region_takes_over_and_the_lost_one_rejoins(store, load):
    primary = (await store.status())["primaryRegion"]
    epoch = (await store.status())["epoch"]
    others = [region for region in await store.regions() if region != primary]
    clients = [store.new_client(region) for region in others]
    try:
        async with Load(
            [store.writer(client) for client in clients], prefix=load.prefix, pause_seconds=0.005
        ) as running:
            await running.wait_acknowledged(50, timeout_seconds=30)
            began = time.monotonic()
            try:
                await lose_region(store, primary)
                receipt = await wait_failed_over(store, primary)
                await running.wait_acknowledged(100, timeout_seconds=60)
                assert running.ledger.longest_gap_seconds(began, time.monotonic()) < GAP_SECONDS
            finally:
                await restore_region(store, primary)
            assert (receipt["mode"], receipt["from"]) == ("Automatic", primary)
            assert receipt["epoch"] > epoch
            assert [step["name"] for step in receipt["steps"]] == ["Fencing", "Waiting", "Promoting", "Repointing"]
            await store.wait_steady(timeout_seconds=120)
    finally:
        for client in clients:
            await client.close()
    await check_accounted(store, running, load.prefix)
    reasons = {reason for _, reason, _ in await store.events()}
    assert {"FailoverFencing", "FailoverPromoting", "FailoverSucceeded"} <= reasons
