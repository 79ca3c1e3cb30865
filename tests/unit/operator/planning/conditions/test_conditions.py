"""Conditions as tables: a situation in, the status and the reason of one condition out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from rstore_operator.planning.children.naming import NAMING_PROBLEMS
from rstore_operator.planning.conditions.conditions import (
    ANSWERS,
    LIMIT,
    OF_OBJECTS,
    OF_VALID_SPEC,
    STICKY,
    Situation,
    findings,
    merge,
)
from rstore_operator.planning.conditions.failed import CANNOT_WATCH, PLANNING_FAILED
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.planning.conditions.in_sync import UNCONFIRMED
from rstore_operator.planning.conditions.lacking_pods import LACKS, NOT_CREATED, Lacking
from rstore_operator.planning.conditions.not_connected import NOT_CONNECTED
from rstore_operator.planning.rollout.steps import Blocked, Rollout
from rstore_operator.resource.model import FailoverSpec, RegionSpec, StoreSpec
from rstore_operator.resource.reader import Problem
from rstore_operator.resource.state import (
    PLANNED,
    Condition,
    FailoverIntent,
    Phase,
    RegionStatus,
    Step,
    StepTime,
    Trigger,
)
from unit.operator.world import START

DOCS = Path(__file__).parents[5] / "docs"
SPEC = StoreSpec("us", (RegionSpec("us"), RegionSpec("eu")))
US = RegionStatus("us", role="Primary", phase="Ready", replicas=3, ready_replicas=3, leader="us-0")
EU = RegionStatus("eu", role="Secondary", phase="Ready", replicas=3, ready_replicas=3, leader="eu-0", connected=True)
WELL = Situation(
    spec=SPEC,
    spec_problems=(),
    regions=(US, EU),
    primary_region="us",
    writable=True,
    ready_pods=3,
    intent=None,
    in_sync=(True, "AllRegions", "fine"),
    waiting="",
    problems=(),
    pending_changes=0,
    replica_changes=(),
    paused=False,
    blocked="",
    blocked_reason="",
    rejected=None,
    accepted=False,
    dry_run=None,
)
INTENT = FailoverIntent(
    mode=PLANNED, trigger=Trigger.SPEC, from_region="us", to_region="eu", from_epoch=1, epoch=2, step=Step.DEMOTING,
    started_at=START, steps=(StepTime(Step.DEMOTING, START),),
)  # fmt: skip


def eu(**changes: Any) -> dict[str, Any]:
    return {"regions": (US, structs.replace(EU, **changes))}


LACKING = {"eu": Lacking(NOT_CREATED, "eu-0: no pod was created; a quota", lasts=True)}
STARTING = {"eu": replace(LACKING["eu"], lasts=False)}
ROLLING = Rollout("rolling eu: 1 of 3 pods")
STOPPED = replace(ROLLING, blocked=Blocked("PodNotStarted", "eu-2: ErrImagePull", image_fails=True))
STUCK = {"eu": replace(LACKING["eu"], stuck=True)}
GROWING = Finding("VolumesGrowing", True, "Growing", "eu-0")
ROWS: list[tuple[dict[str, Any], str, bool | None, str, str]] = [
    ({}, "SpecValid", True, "Valid", ""),
    ({"spec": replace(SPEC, regions=(RegionSpec("us", replicas=2),))}, "SpecValid", True, "EvenReplicas", "no more"),
    ({"spec_problems": (Problem("spec.a", "is wrong"),)}, "SpecValid", False, "Invalid", "spec.a: is wrong"),
    ({"spec_problems": (Problem("a", "is not supported by this version"),)}, "SpecValid", False, "NotSupported", "a"),
    ({}, "Ready", True, "PrimaryAcceptsWrites", "us"),
    ({"intent": INTENT, "writable": False}, "Ready", False, "SwitchingOver", "Demoting: from us to eu, epoch 2"),
    ({"intent": INTENT}, "Ready", True, "PrimaryAcceptsWrites", ""),
    ({"primary_region": "", "waiting": "for volumes"}, "Ready", False, "NotBootstrapped", "for volumes"),
    ({"writable": False}, "Ready", False, "NoPrimary", "accepts no writes"),
    ({"writable": False, "unreached": "us may"}, "Ready", None, "NotReached", "us may"),
    ({"no_tenure": "eu did not renew it"}, "Ready", False, "NoTenure", "eu did not renew it"),
    ({"ready_pods": 0}, "Ready", False, "NoReadyReplica", "Services lead nowhere"),
    ({}, "Progressing", False, "Steady", ""),
    ({"intent": INTENT}, "Progressing", True, "SwitchingOver", "Demoting"),
    ({"spec": None}, "Progressing", False, "InvalidSpec", "until the spec is valid"),
    ({"waiting": "for pods"}, "Progressing", True, "Creating", "for pods"),
    (eu(phase="Creating"), "Progressing", True, "Regions", "under way: eu"),
    ({**eu(phase="Creating"), "lacking": LACKING}, "Progressing", True, "Regions", "a quota"),
    (eu(phase="CatchingUp", message="gets rows"), "Progressing", True, "CatchingUp", "eu gets rows"),
    ({"pending_changes": 2}, "Progressing", True, "Applying", "2 objects"),
    ({"replica_changes": ("eu: 3 replicas, 5 wanted",)}, "Progressing", True, "Scaling", "eu: 3 replicas, 5 wanted"),
    ({"objects": (GROWING,)}, "Progressing", True, "VolumesGrowing", "eu-0"),
    ({"changes_wait": True, "paused": True}, "Progressing", None, "Paused", "changes wait until the annotation"),
    ({}, "Reconciling", False, "Steady", ""),
    ({"pending_changes": 2}, "Reconciling", True, "Applying", "2 objects"),
    ({"intent": INTENT}, "Reconciling", True, "SwitchingOver", "Demoting"),
    ({"changes_wait": True, "paused": True}, "Reconciling", True, "Paused", "changes wait"),
    ({"spec_problems": (Problem("spec.a", "is wrong"),)}, "Reconciling", False, "Invalid", "spec.a"),
    ({**eu(phase="Creating"), "lacking": LACKING}, "Reconciling", True, "Regions", "a quota"),
    ({}, "Stalled", False, "NotStalled", ""),
    ({"spec_problems": (Problem("spec.a", "is wrong"),)}, "Stalled", True, "Invalid", "spec.a: is wrong"),
    ({"problems": (("NameTaken", "a name"),)}, "Stalled", True, "NameTaken", "a name"),
    ({"problems": (("ActionFailed", "for a moment"),)}, "Stalled", False, "NotStalled", ""),
    ({**eu(phase="Creating"), "lacking": LACKING}, "Stalled", False, "NotStalled", ""),
    ({**eu(phase="Creating"), "lacking": STUCK}, "Stalled", True, "PodsDoNotStart", "a quota"),
    ({}, "Degraded", False, "AsExpected", ""),
    ({"problems": (("NameTaken", "a name"),)}, "Degraded", True, "NameTaken", "a name"),
    (eu(phase="Lost", message="no replica answers"), "Degraded", True, "RegionLost", "eu: no replica answers"),
    (eu(phase="Degraded", ready_replicas=2), "Degraded", True, "ReplicasMissing", "2 of 3 replicas are ready"),
    ({**eu(phase="Creating"), "lacking": LACKING}, "Degraded", True, NOT_CREATED, "eu: eu-0: no pod was created"),
    ({**eu(phase="Creating"), "lacking": STARTING}, "Degraded", False, "AsExpected", ""),
    ({"not_connected": ("eu: no stream",)}, "Degraded", True, "RegionNotConnected", "no stream"),
    ({"in_sync": (False, "SemiSyncTimeout", "late")}, "Degraded", True, "SemiSyncTimeout", "late"),
    ({"in_sync": (False, "RegionsBehind", "late")}, "Degraded", False, "AsExpected", ""),
    ({"in_sync": (None, "NoPrimary", "x")}, "InSync", None, "NoPrimary", "x"),
    ({}, "FailoverBlocked", False, "NothingPending", ""),
    ({"blocked": "why", "blocked_reason": "NoMajority"}, "FailoverBlocked", True, "NoMajority", "why"),
    ({}, "AutomaticFailover", True, "Armed", "after 2 s"),
    ({"spec": replace(SPEC, failover=FailoverSpec(policy="Manual"))}, "AutomaticFailover", False, "PolicyManual", ""),
    ({"spec": replace(SPEC, regions=SPEC.regions[:1])}, "AutomaticFailover", False, "OneRegion", ""),
    ({"spec": replace(SPEC, failover=FailoverSpec(failback="Automatic"))}, "AutomaticFailback", True, "Armed", "us"),
    ({**eu(phase="Ready"), "lacking": LACKING}, "Degraded", True, NOT_CREATED, "eu: eu-0"),
    ({"replica_changes": ("eu: 3 to 5",)}, "ReplicasChanging", True, "Scaling", "eu: 3 to 5"),
    ({"rollout": ROLLING}, "Progressing", True, "RollingOut", "rolling eu: 1 of 3 pods"),
    ({"rollout": ROLLING}, "Degraded", False, "AsExpected", ""),
    ({"rollout": STOPPED}, "RolloutBlocked", True, "PodNotStarted", "eu-2: ErrImagePull"),
    ({"paused": True}, "Paused", True, "Annotation", "paused"),
    ({"unknown_annotations": "x=y is not known"}, "UnknownAnnotation", True, "NotKnown", "x=y"),
    ({"pending": ("TargetBehind", "eu is behind")}, "RequestPending", True, "TargetBehind", "eu is behind"),
    ({"rejected": ("AlreadyPrimary", "us is")}, "RequestAccepted", False, "AlreadyPrimary", "us is"),
    ({"accepted": True}, "RequestAccepted", True, "SwitchoverStarted", ""),
    ({"dry_run": (True, "would")}, "DryRun", True, "Possible", "would"),
    ({"dry_run": (False, "would not")}, "DryRun", False, "Refused", "would not"),
    ({"divergence": (True, "eu differs")}, "Diverged", True, "HashesDiffer", "eu differs"),
    ({"divergence": (False, "equal")}, "Diverged", False, "HashesEqual", "equal"),
]


@pytest.mark.parametrize(("changes", "kind", "status", "reason", "message"), ROWS)
def test_a_condition(changes: dict[str, Any], kind: str, status: bool | None, reason: str, message: str) -> None:
    [finding] = [finding for finding in findings(replace(WELL, **changes)) if finding.type == kind]
    assert (finding.status, finding.reason) == (status, reason)
    assert message in finding.message


@pytest.mark.parametrize("kind", sorted(STICKY | OF_VALID_SPEC | {"Paused", "UnknownAnnotation", "RequestPending"}))
def test_conditions_that_need_a_reason_are_absent_from_a_store_that_is_well(kind: str) -> None:
    present = {finding.type for finding in findings(WELL)}
    assert (kind in present) == (kind == "AutomaticFailover")


def condition(kind: str, status: str = "True", reason: str = "Old") -> Condition:
    return Condition(kind, status, reason, "", 1, START)


INVALID = Finding("SpecValid", False, "Invalid", "x")
NEW = Finding("RequestAccepted", True, "New")
MERGES: list[tuple[str, list[Finding], bool, bool]] = [
    ("Ready", [], False, False),
    ("Diverged", [], False, True),
    ("Diverged", [], True, True),
    ("DryRun", [], False, True),
    ("DryRun", [], True, False),
    ("DryRun", [NEW], False, False),
    ("RequestAccepted", [], True, True),
    ("AutomaticFailover", [], False, False),
    ("AutomaticFailover", [INVALID], False, True),
]


@pytest.mark.parametrize(("kind", "found", "new_epoch", "stays"), MERGES)
def test_which_conditions_stay_when_there_is_nothing_new(
    kind: str, found: list[Finding], new_epoch: bool, stays: bool
) -> None:
    merged = merge([condition(kind)], found, generation=2, now=START, new_epoch=new_epoch)
    assert (kind in {item.type for item in merged}) == stays


def test_a_time_changes_only_with_the_status_and_a_message_is_cut() -> None:
    later = START.replace(year=START.year + 1)
    found = [Finding("Ready", True, "New", "x" * 5000), Finding("Degraded", False, "New")]
    ready, degraded = merge([condition("Ready"), condition("Degraded")], found, generation=2, now=later)
    assert (ready.last_transition_time, degraded.last_transition_time) == (START, later)
    assert (ready.reason, len(ready.message), ready.observed_generation) == ("New", LIMIT, 2)
    assert ANSWERS <= STICKY


REASONS_OF_DEGRADED = {
    PLANNING_FAILED, CANNOT_WATCH, NOT_CONNECTED, *NAMING_PROBLEMS, *LACKS, *UNCONFIRMED,
    "RegionLost", "ActionFailed", "DataConflict", "RemovalWaits",
}  # fmt: skip


def test_the_documentation_has_every_condition_every_phase_and_every_reason_that_needs_a_person() -> None:
    pages = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("operations", "runbook", "failover")}
    shown = pages["operations"].partition("## Look at a store")[2].partition("\n## ")[0]
    table = {
        name
        for line in shown.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert table == {row[1] for row in ROWS} | OF_OBJECTS
    assert {phase.value for phase in Phase} <= set(re.findall(r"`(\w+)`", shown))
    assert set(re.findall(r"`(?:\w+=\w+ )?(\w+)`", pages["operations"] + pages["runbook"])) >= REASONS_OF_DEGRADED
    waits = set(re.findall(r"^\| `(\w+)` \| waits", pages["failover"], re.MULTILINE))
    blocked = pages["runbook"].partition("## Nobody takes over")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in blocked.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == waits | {"FailoverWaits"}
