"""One step: what it is in each state of a store, and what it waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rstore_operator.facts.actions import DeletePod, HandOver
from rstore_operator.facts.lacks import UNREADY, WAITING
from rstore_operator.facts.observed import (
    Claim,
    Granted,
    Observed,
    Pod,
    Progress,
    RegionObserved,
    ReplicaStatus,
    SyncStatus,
    Tenure,
)
from rstore_operator.planning.rollout.revisions import RegionPods, disruptions_allowed, read_region, update_revision
from rstore_operator.planning.rollout.steps import NO_ROLLOUT, SLOW_SECONDS, RolloutScene, plan_repair, plan_rollout
from rstore_operator.planning.rollout.turns import Turn
from rstore_operator.resource.model import RegionSpec

EPOCH = 4


def pod(region: str, ordinal: int, revision: str, **changes: Any) -> Pod:
    name = f"s-{region}-{ordinal}"
    made = Pod(
        name, region, "10.0.0.1", ready=True, uid=f"uid-{name}", resource_version="7", revision=revision, image="i:1",
        node="n",
    )  # fmt: skip
    return replace(made, **changes)


def region(name: str, revisions: str, leading: int = 0, **changes: Any) -> RegionPods:
    """A region of one pod for each letter of ``revisions``: o(ld) or n(ew); all is well."""
    pods = tuple(pod(name, i, {"o": "old", "n": "new"}[letter]) for i, letter in enumerate(revisions))
    names = tuple(one.name for one in pods)
    primary = name == "us"
    replicas = tuple(
        ReplicaStatus(
            one.name, name, "id", i == leading, names[leading], 1, 10, EPOCH, EPOCH, primary, primary, ready=True,
            members=names, granted=None if primary else Granted(EPOCH, 100, 2900),
            tenure=Tenure(True, 0, 3000) if primary else None,
            progress=tuple(Progress(other, True, 10, 0, 0, 0.1) for other in ("eu", "ap")) if primary else (),
        )
        for i, one in enumerate(pods)
    )  # fmt: skip
    return RegionPods(
        RegionSpec(name, replicas=len(pods)), RegionObserved(name, pods, replicas), "new", "i:1", **changes
    )


def scene(*regions: RegionPods, **changes: Any) -> RolloutScene:
    observed = Observed(regions={one.name: one.seen for one in regions})
    return replace(RolloutScene("s", regions, "us", EPOCH, observed, {}, {}), **changes)


def with_pod(of: RegionPods, ordinal: int, **changes: Any) -> RegionPods:
    pods = tuple(replace(one, **changes) if i == ordinal else one for i, one in enumerate(of.seen.pods))
    return replace(of, seen=replace(of.seen, pods=pods))


def with_leader(of: RegionPods, **changes: Any) -> RegionPods:
    replicas = tuple(replace(one, **changes) if one.is_leader else one for one in of.seen.replicas)
    return replace(of, seen=replace(of.seen, replicas=replicas))


US, EU, AP = region("us", "ooo"), region("eu", "ooo"), region("ap", "o")
DONE_EU, DONE_AP = region("eu", "nnn"), region("ap", "n")
DONE_US = region("us", "nnn")


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ((US, EU, AP), "s-ap-0"),
        ((US, EU, DONE_AP), "s-eu-2"),
        ((US, region("eu", "oon"), DONE_AP), "s-eu-1"),
        ((US, region("eu", "onn"), DONE_AP), "s-eu-1 leads"),
        ((US, region("eu", "onn", leading=2), DONE_AP), "s-eu-0"),
        ((US, region("eu", "ooo", leading=2), DONE_AP), "s-eu-1"),
        ((US, DONE_EU, DONE_AP), "s-us-2"),
        ((region("us", "nno", leading=2), DONE_EU, DONE_AP), "s-us-0 leads"),
        ((region("us", "o"), DONE_EU, DONE_AP), "leave"),
        ((region("us", "oo"), DONE_EU, DONE_AP), "leave"),
        ((region("us", "on"), DONE_EU, DONE_AP), "leave"),
        ((region("us", "o"),), "s-us-0"),
        ((region("us", "oo"),), "s-us-1"),
        ((US, replace(EU, spec=RegionSpec("eu", priority=99)), AP), "s-eu-2"),
        ((DONE_US, DONE_EU, DONE_AP), ""),
    ],
)
def test_the_next_step(regions: tuple[RegionPods, ...], expected: str) -> None:
    rollout = plan_rollout(scene(*regions))
    if expected == "leave":
        assert (rollout.step, bool(rollout.leave_primary)) == (None, True)
    elif expected.endswith(" leads"):
        assert isinstance(rollout.step, HandOver)
        assert f"{rollout.step.name} leads" == expected
    elif expected:
        name = expected
        assert isinstance(rollout.step, DeletePod)
        assert (rollout.step.name, rollout.step.uid, rollout.step.resource_version) == (name, f"uid-{name}", "7")
    else:
        assert rollout == NO_ROLLOUT


LAGGING = tuple(Progress(other, True, 10, 9, 9, 6.0) for other in ("eu", "ap"))
CUT = tuple(Progress(other, other != "ap", 10, 0, 0, 0.0) for other in ("eu", "ap"))


@pytest.mark.parametrize(
    ("regions", "why"),
    [
        ((US, with_pod(DONE_EU, 1, ready=False), AP), "s-eu-1 to be ready"),
        ((US, with_pod(DONE_EU, 1, terminating=True), AP), "the end of s-eu-1"),
        ((US, replace(DONE_EU, missing=("s-eu-1",)), AP), "s-eu-1 to be created"),
        ((US, replace(EU, revision=""), AP), "the StatefulSet of eu"),
        ((US, with_leader(EU, is_leader=False), AP), "eu to have a leader"),
        ((US, with_leader(EU, learners=("s-eu-2",)), AP), "s-eu-2 to catch up"),
        ((US, with_leader(EU, ready=False), AP), "s-eu-0 to answer"),
        ((US, with_leader(EU, commit_index=5000, applied_index=5000), AP), "s-eu-1, s-eu-2 to answer"),
        ((with_leader(US, progress=LAGGING), EU, AP), "ap to be in sync"),
        ((with_leader(US, progress=CUT), EU, AP), "ap to be connected"),
        ((with_leader(US, progress=()), EU, AP), "ap to be connected"),
        ((US, EU, with_leader(AP, granted=Granted(EPOCH - 1, 100, 0))), "ap to renew the primary's tenure"),
        ((US, EU, with_leader(AP, granted=Granted(EPOCH, 3500, 0))), "ap to renew the primary's tenure"),
        ((with_leader(US, tenure=Tenure(False, 0, 3000)), EU, AP), "us to acknowledge writes"),
        ((with_leader(US, writable=False), EU, AP), "us to acknowledge writes"),
        ((with_leader(US, sync=SyncStatus(1, in_sync=False, degraded=False)), EU, AP), "writes to be confirmed"),
        ((with_leader(US, sync=SyncStatus(1, in_sync=True, degraded=True)), EU, AP), "writes to be confirmed"),
    ],
)
def test_what_a_step_waits_for(regions: tuple[RegionPods, ...], why: str) -> None:
    rollout = plan_rollout(scene(*regions))
    assert (rollout.step, rollout.leave_primary) == (None, "")
    assert f"waits for {why}" in rollout.message
    assert rollout.claim.wanted


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"paused": True}, "waits for the end of the pause"),
        ({"not_now": "the change of primary"}, "waits for the change of primary"),
        ({"turn": Turn(False, "its turn comes soon")}, "its turn comes soon"),
    ],
)
def test_what_the_store_or_others_make_it_wait_for(changes: dict[str, Any], why: str) -> None:
    rollout = plan_rollout(scene(US, EU, AP, **changes))
    assert rollout.step is None
    assert why in rollout.message
    assert rollout.claim.wanted is not bool(changes.get("paused"))


def test_a_budget_that_allows_no_disruption_is_respected() -> None:
    budget = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "disruptionsAllowed": 0}}
    given = scene(US, EU, AP)
    observed = replace(given.observed, children={("PodDisruptionBudget", "s-ap"): budget})
    assert "PodDisruptionBudget of ap" in plan_rollout(replace(given, observed=observed)).message
    assert not disruptions_allowed(budget)
    assert disruptions_allowed({**budget, "metadata": {"generation": 2}}), "the status is about another budget"
    assert disruptions_allowed(None)


@pytest.mark.parametrize(
    ("broken", "waited", "reason", "image_fails"),
    [
        ({"ip": "", "problem": "ErrImagePull: x"}, {(WAITING, "s-ap-0"): 5.0}, "PodNotStarted", True),
        ({"ip": "", "problem": "ErrImagePull: x"}, {(WAITING, "s-ap-0"): 4.0}, "", False),
        ({"ip": "", "node": "", "problem": "Unschedulable: x"}, {(WAITING, "s-ap-0"): 59.0}, "", False),
        ({"ip": "", "node": "", "problem": "Unschedulable: x"}, {(WAITING, "s-ap-0"): 60.0}, "PodNotStarted", False),
        ({}, {(UNREADY, "s-ap-0"): SLOW_SECONDS}, "PodNotReady", True),
        ({}, {(UNREADY, "s-ap-0"): SLOW_SECONDS - 1}, "", False),
    ],
)
def test_what_blocks_a_roll(
    broken: dict[str, Any], waited: dict[tuple[str, str], float], reason: str, image_fails: bool
) -> None:
    rollout = plan_rollout(scene(US, EU, with_pod(DONE_AP, 0, ready=False, **broken), lacking_seconds=waited))
    assert rollout.step is None
    assert (rollout.blocked.reason if rollout.blocked else "") == reason
    assert rollout.claim.image_fails is image_fails
    assert rollout.restarting == (frozenset() if reason else {"ap"})


@pytest.mark.parametrize(
    ("regions", "waited", "expected"),
    [
        ((US, EU, with_pod(AP, 0, ready=False, ip="")), {}, "s-ap-0"),
        ((US, EU, with_pod(AP, 0, ready=False, problem="CrashLoopBackOff")), {}, "s-ap-0"),
        ((US, EU, with_pod(AP, 0, ready=False)), {}, ""),
        ((US, EU, with_pod(AP, 0, ready=False)), {(UNREADY, "s-ap-0"): 10.0}, ""),
        ((US, EU, with_leader(with_pod(AP, 0, ready=False), is_leader=False)), {(UNREADY, "s-ap-0"): 10.0}, "s-ap-0"),
        ((US, with_pod(EU, 1, ready=False), AP), {(UNREADY, "s-eu-1"): 10.0}, "s-eu-1"),
        ((US, with_pod(with_pod(EU, 1, ready=False), 2, ready=False), AP), {(UNREADY, "s-eu-1"): 10.0}, ""),
        ((US, with_pod(EU, 1, ready=False, terminating=True), AP), {(UNREADY, "s-eu-1"): 10.0}, ""),
        ((with_pod(US, 2, ready=False, ip=""), with_pod(DONE_EU, 0, ready=False), DONE_AP), {}, "s-us-2"),
    ],
)
def test_pods_that_are_out_of_date_and_of_no_use_are_replaced_at_once(
    regions: tuple[RegionPods, ...], waited: dict[tuple[str, str], float], expected: str
) -> None:
    never = Turn(False, "another store rolls")
    rollout = plan_rollout(
        scene(*regions, lacking_seconds=waited, turn=never, not_now="the replicas of us", movable=False)
    )
    assert (rollout.step.name if isinstance(rollout.step, DeletePod) else "") == expected
    assert rollout.repairs is bool(expected)
    assert plan_rollout(scene(*regions, lacking_seconds=waited, paused=True)).step is None


def with_old_volumes(of: RegionPods, *ordinals: int) -> RegionPods:
    claims = {
        f"s-{of.name}-{i}": Claim(f"data-{i}", "1Gi", "1Gi", bound=True, storage_class="slow", uid=f"claim-{i}")
        for i in ordinals
    }
    return replace(of, spec=replace(of.spec, storage_class="fast"), old_volumes=claims)


OLD_EU, OUTSIDE = with_old_volumes(DONE_EU, 0, 1, 2), ("s-eu-0", "s-eu-1")


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ((DONE_US, OLD_EU, DONE_AP), "s-eu-2 data-2 claim-2"),
        ((DONE_US, with_old_volumes(DONE_EU, 0, 1), DONE_AP), "s-eu-1 data-1 claim-1"),
        ((DONE_US, with_old_volumes(DONE_EU, 0), DONE_AP), "s-eu-1 leads"),
        ((DONE_US, with_old_volumes(region("eu", "nnn", leading=2), 0), DONE_AP), "s-eu-0 data-0 claim-0"),
        ((DONE_US, with_old_volumes(region("eu", "noo"), 0), DONE_AP), "s-eu-2  "),
        ((with_old_volumes(DONE_US, 1), OLD_EU, DONE_AP), "s-eu-2 data-2 claim-2"),
        ((with_old_volumes(DONE_US, 1), DONE_EU, DONE_AP), "s-us-1 data-1 claim-1"),
        ((DONE_US, DONE_EU, with_old_volumes(DONE_AP, 0)), ""),
        ((DONE_US, DONE_EU, with_old_volumes(AP, 0)), "s-ap-0  "),
        ((with_old_volumes(region("us", "nn"), 0, 1), DONE_EU, DONE_AP), ""),
        ((DONE_US, replace(OLD_EU, revision=""), DONE_AP), ""),
        ((DONE_US, with_pod(OLD_EU, 1, ready=False), DONE_AP), ""),
        ((DONE_US, with_pod(OLD_EU, 2, ready=False), DONE_AP), ""),
        ((DONE_US, with_leader(OLD_EU, learners=("s-eu-1",)), DONE_AP), ""),
        ((DONE_US, with_leader(OLD_EU, members=OUTSIDE), DONE_AP), ""),
        ((DONE_US, with_pod(with_old_volumes(region("eu", "nno"), 2), 2, ready=False, ip=""), DONE_AP), "s-eu-2  "),
    ],
)
def test_volumes_of_another_class_go_with_their_pods(regions: tuple[RegionPods, ...], expected: str) -> None:
    """None goes where the rest of its region is no majority that is whole, nor with a pod that is only repaired."""
    step = plan_rollout(scene(*regions)).step
    if isinstance(step, DeletePod):
        assert f"{step.name} {step.claim} {step.claim_uid}" == expected
    else:
        assert (f"{step.name} leads" if step is not None else "") == expected


def with_unbound(of: RegionPods, ordinal: int, **changes: Any) -> RegionPods:
    """The pod waits for a volume of a class that nobody asks for any more."""
    claim = Claim("data", "1Gi", "", bound=False, storage_class="no-such", uid="claim", resource_version="5")
    waiting = with_pod(of, ordinal, **{"ready": False, "ip": "", "node": ""} | changes)
    return replace(waiting, unbound={f"s-{of.name}-{ordinal}": claim})


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ((DONE_US, DONE_EU, with_unbound(DONE_AP, 0)), "s-ap-0 data claim 5"),
        ((US, with_unbound(DONE_EU, 2), DONE_AP), "s-eu-2 data claim 5"),
        ((DONE_US, DONE_EU, with_unbound(DONE_AP, 0, terminating=True)), ""),
        ((DONE_US, DONE_EU, with_unbound(DONE_AP, 0, node="n")), ""),
    ],
)
def test_a_claim_without_a_volume_goes_at_once_when_another_class_is_wanted(
    regions: tuple[RegionPods, ...], expected: str
) -> None:
    """Also where nothing rolls and in a region of one replica: nothing is in it. It may have been bound just now."""
    for plan in (plan_rollout, plan_repair):
        step = plan(scene(*regions, turn=Turn(False, "another store rolls"))).step
        found = step if isinstance(step, DeletePod) else DeletePod("", "", "", "", "")
        assert f"{found.name} {found.claim} {found.claim_uid} {found.claim_version}".strip() == expected
        assert plan(scene(*regions, paused=True)).step is None


def test_pods_of_a_store_that_was_never_created_are_repaired_and_nothing_else_is_done() -> None:
    waits = with_leader(with_pod(AP, 0, ready=False), is_leader=False)
    assert plan_repair(scene(US, EU, AP)) == NO_ROLLOUT
    assert plan_repair(scene(US, EU, with_pod(DONE_AP, 0, ready=False, ip="", problem="Unschedulable"))) == NO_ROLLOUT
    repaired = plan_repair(scene(US, with_pod(EU, 1, ready=False, ip="", problem="Unschedulable"), AP))
    assert (repaired.step.name if repaired.step else "", repaired.repairs, repaired.message) == ("s-eu-1", True, "")
    assert not repaired.claim.wanted, "it takes no turn"
    assert plan_repair(scene(US, EU, waits)) == NO_ROLLOUT, "it may be about to start"
    late = plan_repair(scene(US, EU, waits, lacking_seconds={(UNREADY, "s-ap-0"): 10.0}))
    assert late.step is not None


@pytest.mark.parametrize(
    ("changes", "epoch", "expected"),
    [
        ({}, 0, "s-ap-0"),
        ({}, EPOCH, ""),
        ({"members": ("s-ap-0",)}, 0, ""),
        ({"joining": False}, 0, ""),
        ({"store_id": "id"}, 0, ""),
    ],
)
def test_a_replica_that_would_begin_with_replicas_that_are_gone_is_started_again(
    changes: dict[str, Any], epoch: int, expected: str
) -> None:
    fresh = {"is_leader": False, "store_id": "", "epoch": 0, "promised_epoch": 0, "joining": True}
    waits = with_leader(with_pod(DONE_AP, 0, ready=False), **fresh | {"members": ("s-ap-0", "s-ap-1")} | changes)
    step = plan_repair(scene(DONE_US, DONE_EU, waits, epoch=epoch)).step
    assert (step.name if isinstance(step, DeletePod) else "") == expected
    others = replace(waits, seen=replace(waits.seen, pods=(*waits.seen.pods, pod("ap", 1, "new", terminating=True))))
    assert plan_repair(scene(DONE_US, DONE_EU, others, epoch=0)).step is None, "first the others have to go"


SELECTOR = "2 node(s) didn't match Pod's node affinity/selector"
AWAY = (
    f"Unschedulable: 0/3 nodes are available: {SELECTOR}, 1 node(s) had volume node affinity conflict. preemption: 0/3"
)
STRANDED = with_pod(region("eu", "non"), 2, ready=False, ip="", node="", problem=AWAY)


@pytest.mark.parametrize(
    ("regions", "changes", "expected"),
    [
        ((US, STRANDED, DONE_AP), {}, "s-eu-2 data-s-eu-2"),
        ((US, STRANDED, DONE_AP), {"disruptions": 0}, "s-eu-2 data-s-eu-2"),
        ((US, STRANDED, DONE_AP), {"seconds": 9.9}, ""),
        ((US, STRANDED, DONE_AP), {"not_now": "the change of primary"}, ""),
        ((US, STRANDED, DONE_AP), {"turn": Turn(False, "another store rolls")}, ""),
        ((US, STRANDED, DONE_AP), {"paused": True}, ""),
        ((US, with_pod(STRANDED, 2, node="n"), DONE_AP), {}, ""),
        ((US, with_pod(STRANDED, 2, problem="Unschedulable: 0/3 nodes are available: " + SELECTOR), DONE_AP), {}, ""),
        ((US, with_pod(STRANDED, 0, ready=False), DONE_AP), {}, ""),
        ((with_pod(US, 0, ready=False), STRANDED, DONE_AP), {}, ""),
        ((US, with_leader(STRANDED, learners=("s-eu-0",)), DONE_AP), {}, ""),
        ((US, EU, with_pod(DONE_AP, 0, ready=False, ip="", node="", problem=AWAY)), {}, ""),
    ],
)
def test_a_new_pod_that_cannot_be_where_its_volume_is_gets_another(
    regions: tuple[RegionPods, ...], changes: dict[str, Any], expected: str
) -> None:
    seen = scene(*regions)
    names = [one.name for of in regions for one in of.seen.pods]
    claims = {f"data-{name}": Claim(f"data-{name}", "1Gi", "1Gi", bound=True, uid="c") for name in names}
    waited = {(WAITING, name): changes.get("seconds", 10.0) for name in ("s-eu-2", "s-ap-0")}
    budget = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "disruptionsAllowed": 0}}
    budgets = {("PodDisruptionBudget", "s-eu"): budget} if "disruptions" in changes else {}
    changes = {name: value for name, value in changes.items() if name not in ("seconds", "disruptions")}
    observed = replace(seen.observed, claims=claims, children=budgets)
    rollout = plan_rollout(replace(seen, observed=observed, lacking_seconds=waited, shown=True, **changes))
    assert not rollout.repairs
    step = rollout.step
    assert (f"{step.name} {step.claim}" if isinstance(step, DeletePod) else "") == expected


def test_the_last_pod_of_a_roll_that_is_shown_belongs_to_it() -> None:
    last = with_pod(DONE_US, 0, ready=False)
    assert plan_rollout(scene(last, DONE_EU, DONE_AP)) == NO_ROLLOUT
    shown = plan_rollout(scene(last, DONE_EU, DONE_AP, shown=True))
    assert "rolling us: 2 of 3 pods; waits for s-us-0 to be ready" in shown.message
    assert plan_rollout(scene(DONE_US, DONE_EU, DONE_AP, shown=True)) == NO_ROLLOUT


def test_only_a_roll_that_changes_the_image_brings_one() -> None:
    assert plan_rollout(scene(US, EU, AP)).claim.image == ""
    assert plan_rollout(scene(US, EU, replace(AP, image="i:2"))).claim.image == "i:2"


def test_the_revision_counts_once_the_controller_has_seen_the_newest_template() -> None:
    live = {
        "metadata": {"generation": 3},
        "status": {"observedGeneration": 3, "updateRevision": "s-ap-b", "currentRevision": "s-ap-a"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"image": "i:2"}]}}},
    }
    assert update_revision(live) == "s-ap-b"
    assert update_revision({**live, "metadata": {"generation": 4}}) == ""
    assert update_revision({**live, "metadata": {"generation": 3, "deletionTimestamp": "now"}}) == ""
    seen = Observed(
        regions={"ap": RegionObserved("ap", (pod("ap", 0, "s-ap-a"),))}, children={("StatefulSet", "s-ap"): live}
    )
    read = read_region("s", RegionSpec("ap", replicas=1), "i:2", seen, behind=False)
    assert ([one.name for one in read.outdated], read.image, read.missing) == (["s-ap-0"], "i:2", ())
    assert read_region("s", RegionSpec("ap"), "i:2", Observed(), behind=False).outdated == ()
