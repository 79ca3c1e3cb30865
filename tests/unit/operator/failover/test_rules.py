"""Requests and faults as tables: a scene in, the rule that decides and its decision out."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from rstore_api.domain.epochs import REVISION_JUMP, EpochStart
from rstore_api.domain.kubernetes import FAILOVER_TO
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import FenceAnswer
from rstore_operator.failover import annotations
from rstore_operator.failover.rules import answer, faults, pending, preferred_primary, requests
from rstore_operator.failover.rules.decisions import Begin, Decision, Done, Refuse, Rule, first
from rstore_operator.failover.scene import Scene
from rstore_operator.failover.unplanned import advance_unplanned
from rstore_operator.planner import plan as planner
from rstore_operator.resource.commands import Commands
from rstore_operator.resource.state import BootstrapStatus, Outcome, Receipt, Step, Trigger
from unit.operator.failover.test_unfinished import fenced
from unit.operator.lossy_world import LossyWorld, running
from unit.operator.world import begin_and_hold_back

Situation = Callable[[], LossyWorld]
Change = Callable[[Scene], Scene]
TABLES = {
    name: table
    for module in (requests, preferred_primary, faults)
    for name, table in vars(module).items()
    if name.isupper() and isinstance(table, tuple) and all(callable(rule) for rule in table)
}
DOCS = Path(__file__).parents[4] / "docs" / "failover.md"


# ------------------------------------------------------------------------------------------ situations
def not_running() -> LossyWorld:
    return LossyWorld()


def healthy() -> LossyWorld:
    return running()


def just_lost() -> LossyWorld:
    world = running()
    world.kill("us-east")
    world.run(0.5)
    return world


def lost() -> LossyWorld:
    """Nothing is recorded of what is decided about it."""
    world = running()
    world.kill("us-east")
    return looking(world, 6.0)


def most_lost() -> LossyWorld:
    world = running()
    world.kill("us-east")
    world.kill("ap-south")
    world.run(6)
    return world


def only_unseen() -> LossyWorld:
    """The operator does not reach the primary region, the other regions do."""
    world = running()
    world.regions["us-east"].up = False
    return looking(world, 6.0)


def failing_over() -> LossyWorld:
    world = running()
    world.kill("us-east")
    while "failover" not in world.status:
        world.run(0.1)
    return world


def status_lost_amid_a_failover() -> LossyWorld:
    world = fenced(None)
    world.status, world.memory = {}, Memory()
    return looking(world, 1.0)


def switching_over(step: str) -> Situation:
    def situation() -> LossyWorld:
        world = running()
        if step == "CatchingUp":
            begin_and_hold_back(world, "eu-west")
        world.annotations[FAILOVER_TO] = "eu-west"
        for _ in range(20):
            world.run(0.1)
            if world.status.get("failover", {}).get("step") == step:
                return world
        raise AssertionError(f"the switchover is never {step}")

    return situation


def promised_beyond(step: str, region: str) -> Situation:
    """A status of before a forced failover is restored, which had come to its fences."""

    def situation() -> LossyWorld:
        world = switching_over(step)()
        world.regions[region].promised = world.status["failover"]["epoch"] + 1
        return looking(world, 1.0)

    return situation


def switchover_without_its_source() -> LossyWorld:
    world = switching_over("CatchingUp")()
    world.kill("us-east")
    return looking(world, 6.0)


def just_switched_over() -> LossyWorld:
    world = running()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.run(3)
    assert world.status["primaryRegion"] == "eu-west"
    return world


def ending() -> LossyWorld:
    world = running()
    world.regions["us-east"].ending_seconds = 0.5
    return world


def failed_over_and_back(seconds: float) -> Situation:
    def situation() -> LossyWorld:
        world = failing_over()
        world.run(6)
        world.revive("us-east")
        world.run(seconds)
        return world

    return situation


def looking(world: LossyWorld, seconds: float) -> LossyWorld:
    """An operator looks at the store for that time, and neither records nor does anything."""
    for _ in range(round(seconds * 4)):
        world.now += timedelta(seconds=0.25)
        world.replicate()
        world.decide()
    return world


@cache
def seen_in(situation: Situation) -> Scene:
    """The scene that the planner sees in that situation."""
    scenes: list[Scene] = []

    def decide(scene: Scene, checked: Any) -> answer.Answer:
        scenes.append(scene)
        return answer.decide(scene, checked)

    world = situation()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "decide", decide)
        world.decide()
    return scenes[-1]


# ------------------------------------------------------------------------------------------ changes of a scene
def nothing_else(scene: Scene) -> Scene:
    return scene


def with_progress(**changes: Any) -> Change:
    """The primary reports something else of eu-west."""

    def change(scene: Scene) -> Scene:
        leader = scene.observed.leader("us-east")
        assert leader is not None
        progress = tuple(replace(item, **changes) if item.region == "eu-west" else item for item in leader.progress)
        return _with_leader(scene, "us-east", progress=progress)

    return change


def ahead(scene: Scene) -> Scene:
    """ap-south holds more than the others."""
    return _with_replicas(scene, "ap-south", revision=99)


def without_data(*names: str) -> Change:
    def change(scene: Scene) -> Scene:
        for name in names:
            scene = _with_replicas(scene, name, epoch=0)
        return scene

    return change


def loss_counts(scene: Scene) -> Scene:
    """It is SemiSync, where what is in doubt must not be lost."""
    return replace(scene, rules=replace(scene.rules, semi_sync=True, max_data_loss_bytes=0))


def ahead_and_accepted(scene: Scene) -> Scene:
    scene = ahead(scene)
    return replace(scene, rules=replace(scene.rules, loss_accepted=True))


def spec(**changes: object) -> Change:
    """Fields of ``spec.failover``, or ``primary_region``."""

    def change(scene: Scene) -> Scene:
        assert scene.spec is not None
        home = str(changes.get("primary_region", scene.spec.primary_region))
        failover = replace(scene.spec.failover, **{k: v for k, v in changes.items() if k != "primary_region"})
        return replace(scene, spec=replace(scene.spec, primary_region=home, failover=failover))

    return change


def _with_leader(scene: Scene, name: str, **changes: Any) -> Scene:
    regions = dict(scene.observed.regions)
    replicas = tuple(replace(one, **changes) if one.is_leader else one for one in regions[name].replicas)
    regions[name] = replace(regions[name], replicas=replicas)
    return replace(scene, observed=replace(scene.observed, regions=regions))


def _with_replicas(scene: Scene, name: str, **changes: Any) -> Scene:
    regions = dict(scene.observed.regions)
    replicas = tuple(replace(replica, **changes) for replica in regions[name].replicas)
    regions[name] = replace(regions[name], replicas=replicas)
    return replace(scene, observed=replace(scene.observed, regions=regions))


# ------------------------------------------------------------------------------------------ rows
@dataclass(frozen=True)
class Row:
    """In ``situation`` the first rule of ``table`` that decides is ``rule`` (None: nothing is decided); ``decision`` is
    the reason that it gives, or the trigger of what begins."""

    table: str
    situation: Situation
    rule: str | None
    decision: str | Trigger | None = None
    message: str = ""
    commands: dict[str, str] = field(default_factory=dict)
    change: Change = nothing_else

    def __str__(self) -> str:
        return f"{self.table}-{self.rule}-{self.situation.__name__}"


TO, TO_PRIMARY = {"failover_to": "eu-west"}, {"failover_to": "us-east"}
MODE = {"failover_mode": "forced"}
FORCED, FORCED_TO_PRIMARY = {**TO, **MODE}, {**TO_PRIMARY, **MODE}
HALF = (
    "1 of 3 voters can be reached, 2 are needed; bring back one of: ap-south, us-east; or, "
    "where one is gone for good, remove it from the spec, and delete its StatefulSet and its claims"
)
SILENT = "the primary region us-east has no leader that answers"
FAR, APART = with_progress(lag_seconds=5.1), with_progress(connected=False)
TO_WEST = spec(primary_region="eu-west")


def WITHOUT_EAST(scene: Scene) -> Scene:
    """The primary is out of the spec, which has named eu-west for long."""
    assert scene.spec is not None
    regions = tuple(region for region in scene.spec.regions if region.name != "us-east")
    status = structs.replace(scene.status, preferred_primary="eu-west")
    return replace(scene, spec=replace(scene.spec, primary_region="eu-west", regions=regions), status=status)


def given_up(seconds: float) -> Change:
    """So long ago a switchover out of the region that leaves was given up."""

    def change(scene: Scene) -> Scene:
        at = scene.clock.now - timedelta(seconds=seconds)
        last = Receipt(
            mode="Planned", from_region="us-east", to_region="us-east", epoch=1, outcome=Outcome.ABORTED, finished_at=at
        )
        return WITHOUT_EAST(replace(scene, status=structs.replace(scene.status, history=(last,))))

    return change


def restoring(scene: Scene) -> Scene:
    """The store is being filled from an archive."""
    return replace(scene, status=structs.replace(scene.status, bootstrap=BootstrapStatus()))


ROWS = [
    Row("ABORT", healthy, "nothing_to_abort", "NothingToAbort", "there is no switchover"),
    Row("ABORT", failing_over, "automatic_is_not_aborted", "NothingToAbort", "an automatic failover is not called off"),
    Row("ABORT", switching_over("Promoting"), "too_late_to_abort", "TooLateToAbort", "eu-west is being promoted"),
    Row("ABORT", switching_over("CatchingUp"), None),
    Row("SWITCHOVER", not_running, "store_is_not_running", "NotBootstrapped", commands=TO),
    Row("SWITCHOVER", healthy, "store_is_restored", "Restoring", "its primary stays", TO, restoring),
    Row("SWITCHOVER", just_switched_over, "left_over", commands=TO),
    Row("SWITCHOVER", healthy, "already_primary", "AlreadyPrimary", "us-east is primary already", TO_PRIMARY),
    Row("SWITCHOVER", just_lost, "switchover_waits", "SwitchoverBlocked", SILENT, TO),
    Row("SWITCHOVER", most_lost, "switchover_refused", "SwitchoverRefused", SILENT, TO),
    Row("SWITCHOVER", healthy, "target_is_far", "TargetBehind", "eu-west is more than 5 s behind", TO, FAR),
    Row("SWITCHOVER", healthy, "target_is_far", "TargetBehind", "eu-west has no stream", TO, APART),
    Row("SWITCHOVER", healthy, "switchover_begins", Trigger.ANNOTATION, commands=FORCED, change=FAR),
    Row("SWITCHOVER", healthy, "switchover_begins", Trigger.ANNOTATION, commands=TO),
    Row("SWITCHOVER", healthy, "switchover_begins", Trigger.ANNOTATION, commands=FORCED),
    Row("SWITCHOVER", just_lost, None, commands=FORCED),
    Row("FORCED_FAILOVER", not_running, "store_is_not_running", "NotBootstrapped", commands=FORCED),
    Row("FORCED_FAILOVER", lost, "store_is_restored", "Restoring", "its primary stays", FORCED, restoring),
    Row("FORCED_FAILOVER", just_switched_over, "left_over", commands=FORCED),
    Row("FORCED_FAILOVER", lost, "already_primary", "AlreadyPrimary", commands=FORCED_TO_PRIMARY),
    Row("FORCED_FAILOVER", most_lost, "forced_lacks_voters", "NoMajority", f"failover to eu-west: {HALF}", FORCED),
    Row(
        "FORCED_FAILOVER",
        lost,
        "named_has_no_copy",
        "FailoverRefused",
        "holds no copy",
        FORCED,
        without_data("eu-west"),
    ),
    Row("FORCED_FAILOVER", lost, "named_is_behind", "FailoverRefused", "eu-west is behind ap-south", FORCED, ahead),
    Row("FORCED_FAILOVER", lost, "forced_begins", Trigger.ANNOTATION, commands=FORCED, change=ahead_and_accepted),
    Row("FORCED_FAILOVER", just_lost, "forced_begins", Trigger.ANNOTATION, commands=FORCED),
    Row("SPEC", healthy, None),
    Row("SPEC", healthy, "edited_primary", Trigger.SPEC, change=TO_WEST),
    Row("SPEC", just_lost, "edited_primary", "SwitchoverBlocked", SILENT, change=TO_WEST),
    Row("SPEC", healthy, "edited_primary", "TargetBehind", "has no stream", change=lambda s: APART(TO_WEST(s))),
    Row("SPEC", healthy, "removed_primary", Trigger.SPEC, change=WITHOUT_EAST),
    Row("SPEC", just_lost, "removed_primary", "SwitchoverBlocked", SILENT, change=WITHOUT_EAST),
    Row("SPEC", healthy, "removed_primary", "TargetBehind", "has no stream", change=lambda s: APART(WITHOUT_EAST(s))),
    Row("SPEC", healthy, None, change=given_up(29.0)),
    Row("SPEC", healthy, "removed_primary", Trigger.SPEC, change=given_up(30.0)),
    Row("FAILBACK", failed_over_and_back(12), "failback", Trigger.FAILBACK, change=spec(failback="Automatic")),
    Row("FAILBACK", failed_over_and_back(1), None, change=spec(failback="Automatic")),
    Row("FAILBACK", failed_over_and_back(12), None),
    Row("ENDING", ending, "leave_ending_region", Trigger.PRIMARY_STOPPING),
    Row("ENDING", ending, None, change=spec(policy="Manual")),
    Row("ENDING", healthy, None),
    Row("LOST", healthy, None),
    Row("LOST", just_lost, None),
    Row("LOST", lost, "policy_is_manual", "PolicyManual", "us-east is lost", change=spec(policy="Manual")),
    Row("LOST", most_lost, "failover_lacks_voters", "NoMajority", HALF),
    Row("LOST", only_unseen, "tenure_in_doubt", "TenureInDoubt", "no other region reports that its tenure"),
    Row("LOST", lost, "no_copy", "NoCopy", change=without_data("eu-west", "ap-south")),
    Row("LOST", lost, "loss_gate_is_shut", "DataLoss", "maxDataLoss is 0 bytes", change=loss_counts),
    Row("LOST", lost, "failover_begins", Trigger.PRIMARY_LOST),
    Row("UNFINISHED", healthy, None),
    Row("UNFINISHED", status_lost_amid_a_failover, "finish_what_was_begun", Trigger.PRIMARY_LOST),
    Row("UNDER_WAY", switching_over("CatchingUp"), None),
    Row("UNDER_WAY", promised_beyond("CatchingUp", "eu-west"), "switchover_is_promised_beyond", Trigger.PRIMARY_LOST),
    Row("UNDER_WAY", promised_beyond("Promoting", "eu-west"), "switchover_is_promised_beyond", Trigger.PRIMARY_LOST),
    Row(
        "UNDER_WAY",
        promised_beyond("CatchingUp", "us-east"),
        "switchover_is_promised_beyond",
        Trigger.PRIMARY_LOST,
        change=spec(policy="Manual"),
    ),
    Row("UNDER_WAY", promised_beyond("CatchingUp", "ap-south"), None),
    Row("UNDER_WAY", switchover_without_its_source, "switchover_loses_its_region", Trigger.PRIMARY_LOST),
    Row(
        "UNDER_WAY",
        switchover_without_its_source,
        "switchover_loses_its_region",
        "PolicyManual",
        "us-east was lost while the switchover was CatchingUp",
        change=spec(policy="Manual"),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_first_rule_that_decides(row: Row) -> None:
    scene = row.change(replace(seen_in(row.situation), commands=Commands(**row.commands)))
    table = TABLES[row.table]
    deciding = next((rule for rule in table if rule(scene) is not None), None)
    assert (deciding.__name__ if deciding else None) == row.rule
    decision = first(table, scene)
    assert _said(decision) == row.decision
    assert row.message in getattr(decision, "message", "")


def _said(decision: Decision | None) -> str | Trigger | None:
    """The reason, or the trigger."""
    if isinstance(decision, Begin):
        return decision.intent.trigger
    return None if decision is None or isinstance(decision, Done) else decision.reason


@pytest.mark.parametrize("name", TABLES)
def test_every_rule_of_a_table_decides_in_a_row(name: str) -> None:
    assert {rule.__name__ for rule in TABLES[name]} == {row.rule for row in ROWS if row.table == name} - {None}


def test_a_forced_request_is_a_switchover_where_the_primary_can_hand_over() -> None:
    for situation, step in ((healthy, Step.DEMOTING), (just_lost, Step.FENCING)):
        decision = requests.request(replace(seen_in(situation), commands=Commands(**FORCED)))
        assert isinstance(decision, Begin)
        assert decision.intent.step is step


def test_the_dry_run_gives_the_answer_of_the_request() -> None:
    scene = ahead(seen_in(just_lost))
    refusal = requests.request(replace(scene, commands=Commands(**FORCED)))
    assert isinstance(refusal, Refuse)
    answered = answer.decide(replace(scene, commands=Commands(dry_run="eu-west")), annotations.Checked(Commands()))
    assert answered.dry_run is not None
    assert not answered.dry_run[0]
    assert refusal.message in answered.dry_run[1]


@pytest.mark.parametrize("rule", dict.fromkeys(chain.from_iterable(TABLES.values())), ids=lambda rule: rule.__name__)
def test_every_rule_says_in_a_sentence_what_it_decides(rule: Rule) -> None:
    assert re.fullmatch(r"[A-Z`].*\.", " ".join((rule.__doc__ or "").split()))


def test_the_documentation_has_every_reason_and_says_what_it_comes_to() -> None:
    text = DOCS.read_text(encoding="utf-8").partition("## Answers to requests")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    documented = {(reason, what.strip()) for names, what in rows for reason in re.findall(r"`(\w+)`", names)}
    kinds = {"Refuse": "refused", "Refusal": "refused", "Wait": "waits"}
    found = set()
    for module in (requests, faults, preferred_primary, annotations, pending):
        for call in ast.walk(ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kinds:
                words = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
                found.add((words[0], kinds[call.func.id]))
    assert documented == found


def test_a_failover_waits_for_a_fenced_region_that_holds_more_and_was_to_be_removed() -> None:
    """It does not answer at that moment, and the regions that do know nothing of it: it is no region of the store."""
    scene = seen_in(lambda: looking(fenced(None), 6.0))
    intent = scene.status.failover
    assert intent is not None
    fences = scene.memory.fences
    more = replace(fences["ap-south"], revision=fences["eu-west"].revision + 1)
    scene = replace(
        scene,
        memory=replace(scene.memory, fences={**fences, "ap-south": more}),
        rules=replace(scene.rules, priorities={"us-east": 10, "eu-west": 10}),
    )
    waiting = advance_unplanned(scene, intent, announced=False)
    assert waiting.intent is not None
    assert waiting.intent.step is Step.WAITING
    assert "ap-south, which is not in spec.regions, is at revision" in waiting.blocked
    for rules in (
        replace(scene.rules, loss_accepted=True),
        replace(scene.rules, priorities={"eu-west": 1, "ap-south": 2}),
    ):
        going_on = advance_unplanned(replace(scene, rules=rules), intent, announced=False)
        assert going_on.intent is not None
        assert going_on.intent.step is Step.PROMOTING


@pytest.mark.parametrize(
    ("east", "west", "promoted"),
    [((1, 30), (1, 21), "us-east"), ((1, 30), (2, 21), ""), ((2, 21), (2, 21), ""), ((2, 21), (0, 0), "")],
    ids=["no attempt before", "west knows of one", "both know of it", "only east has data"],
)
def test_the_region_that_is_left_takes_over_again_only_where_it_holds_everything(
    east: tuple[int, int], west: tuple[int, int], promoted: str
) -> None:
    """Not where an attempt before made ap-south primary, which is away: that may have acknowledged something."""
    scene = seen_in(lambda: looking(fenced(None), 6.0))
    intent = structs.replace(scene.status.failover, cut_off=True, epoch=3)
    line = (EpochStart(1, 2, "us-east"), EpochStart(2, REVISION_JUMP, "ap-south", 20))
    fences = {
        name: FenceAnswer(name, 3, epoch, revision, clear_at_seconds=5.5, history=line[:epoch])
        for name, (epoch, revision) in {"us-east": east, "eu-west": west}.items()
    }
    scene = replace(
        scene,
        status=structs.replace(scene.status, failover=intent),
        memory=replace(scene.memory, fences=fences),
        rules=replace(scene.rules, max_data_loss_bytes=0, semi_sync=True),
    )
    found = advance_unplanned(scene, intent, announced=False)
    assert found.intent is not None
    assert (found.intent.to_region, found.intent.aborted) == (promoted, bool(promoted))
    assert ("bring ap-south back" in found.blocked) is not bool(promoted)


def test_nothing_begins_by_itself_while_the_store_is_restored() -> None:
    scene = replace(seen_in(lost), commands=Commands())
    assert answer.decide(scene, annotations.Checked(Commands())).intent is not None
    assert answer.decide(restoring(scene), annotations.Checked(Commands())).intent is None
