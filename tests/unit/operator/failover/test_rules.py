"""Requests and faults as tables: a scene in, the decision of a named rule out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rstore_operator.failover.rules import answer, faults, preferred_primary, requests
from rstore_operator.failover.rules.decisions import Begin, Decision, Refuse, Rule, Wait, first
from rstore_operator.failover.scene import Scene
from rstore_operator.planner import plan as planner
from rstore_operator.resource.commands import Commands
from rstore_operator.resource.state import Step, Trigger
from unit.operator.lossy_world import LossyWorld, running

Situation = Callable[[LossyWorld], None]
TABLES = {
    name: table
    for module in (requests, preferred_primary, faults)
    for name, table in vars(module).items()
    if name.isupper() and isinstance(table, tuple) and all(callable(rule) for rule in table)
}
DOCS = Path(__file__).parents[4] / "docs" / "failover.md"


def healthy(world: LossyWorld) -> None:
    world.run(1)


def primary_lost(world: LossyWorld) -> None:
    world.kill("us-east")
    world.run(0.5)


def most_lost(world: LossyWorld) -> None:
    world.kill("us-east")
    world.kill("ap-south")
    world.run(10)


def scene_of(situation: Situation, monkeypatch: pytest.MonkeyPatch, **spec: object) -> Scene:
    """The scene that the planner sees in that situation."""
    seen: list[Scene] = []

    def decide(scene: Scene, checked: object) -> answer.Answer:
        seen.append(scene)
        return real(scene, checked)

    real = answer.decide
    monkeypatch.setattr(planner, "decide", decide)
    world = running(**spec)
    situation(world)
    world.decide()
    return seen[-1]


FORCED = {"failover_mode": "forced"}
REQUESTS: list[tuple[Situation, dict[str, str], Decision | type[Begin]]] = [
    (healthy, {"failover_to": "us-east"}, Refuse("AlreadyPrimary", "us-east is primary already")),
    (healthy, {"failover_to": "eu-west"}, Begin),
    (healthy, {"failover_to": "eu-west", **FORCED}, Begin),
    (
        primary_lost,
        {"failover_to": "eu-west"},
        Wait("SwitchoverBlocked", "the primary region us-east has no leader that answers"),
    ),
    (primary_lost, {"failover_to": "eu-west", **FORCED}, Begin),
    (
        most_lost,
        {"failover_to": "eu-west"},
        Refuse("SwitchoverRefused", "the primary region us-east has no leader that answers"),
    ),
    (
        most_lost,
        {"failover_to": "eu-west", **FORCED},
        Wait(
            "NoMajority",
            "forced failover to eu-west: 1 of 3 voters can be reached, 2 are needed; bring back one of: "
            "ap-south, us-east",
        ),
    ),
]


@pytest.mark.parametrize(("situation", "commands", "expected"), REQUESTS)
def test_a_request_comes_to_what_the_table_says(
    situation: Situation, commands: dict[str, str], expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_of(situation, monkeypatch)
    decision = requests.request(replace(scene, commands=Commands(**commands)))
    assert isinstance(decision, Begin) if expected is Begin else decision == expected
    if isinstance(decision, Begin):
        assert decision.intent.step is (Step.FENCING if situation is primary_lost else Step.DEMOTING)


def test_a_forced_request_for_a_region_that_is_behind_is_refused_until_the_loss_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = scene_of(primary_lost, monkeypatch)
    regions = dict(scene.observed.regions)
    region = regions["ap-south"]
    ahead = tuple(replace(replica, revision=replica.revision + 7) for replica in region.replicas)
    regions["ap-south"] = replace(region, replicas=ahead)
    scene = replace(scene, observed=replace(scene.observed, regions=regions))
    asked = replace(scene, commands=Commands(failover_to="eu-west", failover_mode="forced"))
    refusal = requests.request(asked)
    assert isinstance(refusal, Refuse)
    assert "eu-west is behind ap-south" in refusal.message
    assert isinstance(requests.request(replace(asked, rules=replace(asked.rules, loss_accepted=True))), Begin)
    answered = answer.decide(replace(scene, commands=Commands(dry_run="eu-west")), planner.Checked(Commands()))
    assert answered.dry_run is not None
    assert not answered.dry_run[0]
    assert refusal.message in answered.dry_run[1], "the dry run says what the request would be told"


def test_a_lost_primary_is_replaced_or_the_table_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(most_lost, monkeypatch)
    assert isinstance(decision := first(faults.LOST, scene), Wait)
    assert decision.reason == "NoMajority"
    assert first(faults.LOST, scene_of(healthy, monkeypatch)) is None
    manual = replace(scene, spec=replace_policy(scene))
    assert isinstance(decision := first(faults.LOST, manual), Wait)
    assert decision.reason == "PolicyManual"


def replace_policy(scene: Scene) -> object:
    assert scene.spec is not None
    return replace(scene.spec, failover=replace(scene.spec.failover, policy="Manual"))


def test_nothing_under_way_is_nothing_to_abort_and_an_edit_of_the_spec_is_a_switchover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = scene_of(healthy, monkeypatch)
    assert first(requests.ABORT, scene) == Refuse("NothingToAbort", "there is no switchover to abort")
    assert first(preferred_primary.SPEC, scene) is None
    assert scene.spec is not None
    edited = replace(scene, spec=replace(scene.spec, primary_region="eu-west"))
    assert isinstance(decision := first(preferred_primary.SPEC, edited), Begin)
    assert (decision.intent.trigger, decision.intent.to_region) == (Trigger.SPEC, "eu-west")


@pytest.mark.parametrize("rule", {rule for table in TABLES.values() for rule in table}, ids=lambda rule: rule.__name__)
def test_every_rule_says_in_a_sentence_what_it_decides(rule: Rule) -> None:
    assert re.fullmatch(r"[A-Z`].*\.", " ".join((rule.__doc__ or "").split()))


def test_the_documentation_lists_every_reason_for_which_a_failover_waits() -> None:
    sources = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (requests, faults)]
    reasons = set(re.findall(r'Wait\(\s*"(\w+)"', "".join(sources))) - {"SwitchoverBlocked"}
    stops = DOCS.read_text(encoding="utf-8").partition("**What stops it.**")[2].partition("\n\n")[0]
    assert reasons == set(re.findall(r"`([A-Z]\w+)`", stops)) - {"FailoverBlocked"}
