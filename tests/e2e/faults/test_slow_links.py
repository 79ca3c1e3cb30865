"""Regions far from each other: round trips of 100 and 300 ms, and 5 % of what is sent lost on the way."""

from __future__ import annotations

import time

import pytest
from e2e.faults.scene import GAP_SECONDS, LONG, OPERATOR, gap_since
from localkube.links.rules import LinkRule

pytestmark = pytest.mark.runner

CASES = [LinkRule(delay_ms=50, loss_percent=5)]
if LONG:
    CASES = [LinkRule(delay_ms=50), LinkRule(delay_ms=150), LinkRule(delay_ms=150, loss_percent=5), *CASES]


@pytest.mark.parametrize("rule", CASES, ids=lambda rule: f"{2 * rule.delay_ms:g}ms-{rule.loss_percent:g}pct")
async def test_a_switchover_and_a_failover_over_slow_links(scene, rule):
    regions = await scene.store.regions()
    source, epoch = await scene.primary(), (await scene.store.status())["epoch"]
    target = (await scene.others(source))[0]
    async with scene.writing() as load:
        began = time.monotonic()
        scene.every_link(rule, [*regions, OPERATOR])
        await load.wait_acknowledged(60)
        assert (await scene.store.status())["epoch"] == epoch, "slow is not lost"
        await scene.store.kube("annotate", "rstore", scene.store.name, f"replicatedstore.io/failover-to={target}")
        await scene.store.wait_steady(primary=target)
        await load.wait_acknowledged(20)
        assert gap_since(load, began) < GAP_SECONDS
        with scene.hanging(target):
            receipt = await scene.failed_over(target)
        await load.wait_acknowledged(20)
        scene.links.clear()
        await scene.store.wait_steady()
    assert (receipt["mode"], receipt["from"]) == ("Automatic", target)
    await scene.judge(load)
