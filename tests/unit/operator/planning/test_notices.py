"""Events as a table: two statuses in, the reasons of the events that tell the difference out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec import structs
from rstore_operator.planning.notices import notices
from rstore_operator.resource.state import (
    AUTOMATIC,
    PLANNED,
    Condition,
    FailoverIntent,
    Outcome,
    QuarantinedTail,
    Receipt,
    RegionHash,
    RegionStatus,
    Step,
    StepTime,
    StoreStatus,
    Trigger,
)
from unit.operator.world import START

READY = RegionStatus("eu", role="Secondary", phase="Ready", replicas=3, ready_replicas=3, connected=True)
STEADY = StoreStatus(store_id="s", epoch=1, primary_region="us", regions=(READY,))
INTENT = FailoverIntent(
    mode=PLANNED, trigger=Trigger.SPEC, from_region="us", to_region="eu", from_epoch=1, epoch=2, step=Step.DEMOTING,
    started_at=START, steps=(StepTime(Step.DEMOTING, START),),
)  # fmt: skip
TAIL = QuarantinedTail(1, 5, 9, 5, 100, "f", 2, 5)


def with_conditions(*conditions: Condition) -> StoreStatus:
    return structs.replace(STEADY, conditions=conditions)


def with_region(**changes: object) -> StoreStatus:
    return structs.replace(STEADY, regions=(structs.replace(READY, **changes),))


def said(kind: str, status: str, reason: str, message: str = "text") -> StoreStatus:
    return with_conditions(Condition(kind, status, reason, message))


def at(step: Step, mode: str = PLANNED) -> StoreStatus:
    steps = (*INTENT.steps, StepTime(step, START))
    return structs.replace(STEADY, failover=structs.replace(INTENT, step=step, steps=steps, mode=mode))


def ended(mode: str, outcome: Outcome) -> StoreStatus:
    return structs.replace(STEADY, history=(Receipt(Trigger.SPEC, outcome, "us", "eu", 2, mode=mode),))


DIVERGED = structs.replace(
    with_region(hash=RegionHash(5, "f", differs=True)), conditions=(Condition("Diverged", "True", "HashesDiffer"),)
)
EQUAL_AGAIN = structs.replace(
    with_region(hash=RegionHash(6, "a")), conditions=(Condition("Diverged", "False", "HashesEqual"),)
)


@dataclass(frozen=True)
class Row:
    """The events between two statuses; ``warning`` of the first."""

    before: StoreStatus
    after: StoreStatus
    reasons: tuple[str, ...]
    warning: bool = False


NO_COPY = said("FailoverBlocked", "True", "NoCopy")
NO_STREAM = "eu: no stream from the primary region"
ROWS = [
    Row(STEADY, STEADY, ()),
    Row(structs.replace(STEADY, epoch=0), STEADY, ("Bootstrapped",)),
    Row(STEADY, said("SpecValid", "False", "Invalid"), ("InvalidSpec",), warning=True),
    Row(STEADY, said("SpecValid", "True", "Valid"), ()),
    Row(STEADY, said("SpecValid", "True", "EvenReplicas"), ("EvenReplicas",), warning=True),
    Row(STEADY, said("FailoverBlocked", "True", "NoMajority"), ("FailoverBlocked",), warning=True),
    Row(STEADY, said("FailoverBlocked", "True", "SwitchoverBlocked"), ("SwitchoverBlocked",), warning=True),
    Row(said("FailoverBlocked", "True", "NoCopy"), said("FailoverBlocked", "True", "NoCopy"), ()),
    Row(
        said("FailoverBlocked", "True", "NoCopy"),
        said("FailoverBlocked", "True", "NoCopy", "b"),
        ("FailoverBlocked",),
        True,
    ),
    Row(STEADY, said("ReplicasChanging", "True", "Scaling"), ("ReplicasChanging",)),
    Row(STEADY, said("VolumesGrowing", "True", "Growing"), ("VolumesGrowing",)),
    Row(STEADY, said("Paused", "True", "Annotation"), ("Paused",)),
    Row(said("Paused", "True", "Annotation"), STEADY, ("Resumed",)),
    Row(STEADY, said("UnknownAnnotation", "True", "NotKnown"), ("UnknownAnnotation",), warning=True),
    Row(STEADY, said("Degraded", "True", "NameTaken"), ("NameTaken",), warning=True),
    Row(STEADY, said("Degraded", "False", "AsExpected"), ()),
    Row(STEADY, said("Degraded", "True", "RegionLost"), ()),
    Row(said("Degraded", "True", "PodsNotCreated"), said("Degraded", "True", "PodsNotCreated", "another quota"), ()),
    Row(STEADY, said("Degraded", "True", "RegionNotConnected", NO_STREAM), ("RegionNotConnected",), warning=True),
    Row(said("Degraded", "True", "RegionNotConnected", NO_STREAM), STEADY, ("RegionConnected",)),
    Row(STEADY, said("Ready", "False", "NoTenure"), ("NoTenure",), warning=True),
    Row(said("Ready", "False", "NoTenure"), said("Ready", "True", "PrimaryAcceptsWrites"), ("TenureHeld",)),
    Row(STEADY, said("InSync", "False", "SemiSyncTimeout"), ("SemiSyncTimeout",), warning=True),
    Row(said("InSync", "False", "SemiSyncTimeout"), said("InSync", "True", "SemiSync"), ("InSyncAgain",)),
    Row(with_region(phase="Creating"), STEADY, ("RegionReady",)),
    Row(STEADY, with_region(phase="Lost"), ("RegionLost",), warning=True),
    Row(STEADY, with_region(phase="CatchingUp"), ("RegionCatchingUp",)),
    Row(STEADY, with_region(phase="Removing"), ("RegionRemoving",)),
    Row(STEADY, structs.replace(STEADY, regions=()), ("RegionRemoved",)),
    Row(STEADY, with_region(quarantined=(TAIL,)), ("TailQuarantined",), warning=True),
    Row(with_region(quarantined=(TAIL,)), with_region(quarantined=(TAIL,)), ()),
    Row(STEADY, DIVERGED, ("Diverged",), warning=True),
    Row(DIVERGED, EQUAL_AGAIN, ("HashesEqual",)),
    Row(STEADY, structs.replace(STEADY, failover=INTENT), ("SwitchoverDemoting",)),
    Row(structs.replace(STEADY, failover=INTENT), at(Step.CATCHING_UP), ("SwitchoverCatchingUp",)),
    Row(structs.replace(STEADY, failover=INTENT), at(Step.REVERTING), ("SwitchoverReverting",), warning=True),
    Row(structs.replace(STEADY, failover=INTENT), at(Step.PROMOTING, AUTOMATIC), ("FailoverPromoting",), warning=True),
    Row(STEADY, ended(PLANNED, Outcome.SUCCEEDED), ("SwitchoverSucceeded",)),
    Row(STEADY, ended(PLANNED, Outcome.ABORTED), ("SwitchoverAborted",), warning=True),
    Row(STEADY, ended(AUTOMATIC, Outcome.SUCCEEDED), ("FailoverSucceeded",), warning=True),
    Row(STEADY, ended(AUTOMATIC, Outcome.ABORTED), ("FailoverCalledOff",), warning=True),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ",".join(row.reasons) or "no news")
def test_the_events_of_a_change_of_status(row: Row) -> None:
    reported = notices(row.before, row.after)
    assert tuple(notice.reason for notice in reported) == row.reasons
    assert [notice.warning for notice in reported[:1]] == [row.warning][: len(reported)]
    assert all(notice.message or notice.reason in ("Diverged", "HashesEqual") for notice in reported)
