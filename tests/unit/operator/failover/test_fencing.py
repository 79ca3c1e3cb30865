"""What a person is told about whether the primary region would be fenced now."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rstore_operator.failover.rules.dry_run import dry_run
from rstore_operator.failover.scene import Scene
from rstore_operator.resource.commands import Commands
from unit.operator.failover.test_rules import (
    Change,
    Situation,
    failing_over,
    healthy,
    just_lost,
    loss_counts,
    lost,
    most_lost,
    not_running,
    nothing_else,
    only_unseen,
    seen_in,
    spec,
)

NOT_NOW = "us-east would not be fenced now"


def invalid(scene: Scene) -> Scene:
    return replace(scene, spec=None)


def paused(scene: Scene) -> Scene:
    return replace(scene, commands=Commands(paused_value="true"))


def without_tenure(scene: Scene) -> Scene:
    """Its leader answers, and has had no tenure for 1.5 s."""
    since = scene.memory.moment.seconds - 1.5
    return replace(scene, memory=replace(scene.memory, without_tenure_at={"us-east": (("us-east-0", 1, 1), since)}))


@pytest.mark.parametrize(
    ("situation", "change", "begins", "texts"),
    [
        (not_running, nothing_else, False, ["the store is not running yet"]),
        (
            healthy,
            nothing_else,
            False,
            [f"{NOT_NOW}: its leader", "answers, and nothing says that it lacks its tenure"],
        ),
        (healthy, without_tenure, False, [NOT_NOW, "without its tenure for 1.5 s", "eu-west renewed it 0."]),
        (just_lost, nothing_else, False, [f"{NOT_NOW}: no leader of it has answered for", "failoverDelay is"]),
        (lost, nothing_else, True, ["us-east would be fenced now", "would take over"]),
        (lost, paused, False, ["us-east would be fenced now", "does not begin while the store is paused"]),
        (lost, spec(policy="Manual"), False, [f"{NOT_NOW} (PolicyManual): us-east is lost"]),
        (lost, loss_counts, False, [f"{NOT_NOW} (DataLoss)", "maxDataLoss is 0 bytes"]),
        (most_lost, nothing_else, False, [f"{NOT_NOW} (NoMajority)", "voters can be reached"]),
        (only_unseen, nothing_else, False, [f"{NOT_NOW} (TenureInDoubt)", "no other region reports"]),
        (failing_over, nothing_else, False, ["a change of primary from us-east", "is under way, step"]),
        (lost, invalid, False, ["us-east would not be fenced: nothing begins by itself while the spec is invalid"]),
    ],
)
def test_the_dry_run_of_the_primary_region_says_whether_it_would_be_fenced(
    situation: Situation, change: Change, begins: bool, texts: list[str]
) -> None:
    answer = dry_run(change(seen_in(situation)), "us-east")
    assert answer[0] is begins, answer
    for text in texts:
        assert text in answer[1]
