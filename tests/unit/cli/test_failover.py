"""rstore failover: the annotation it sets, and how it follows what the operator makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rstore_api.domain.kubernetes import ABORT_FAILOVER, FAILOVER_DRY_RUN, FAILOVER_TO
from rstore_cli.following import Progress, State, follow
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster, event, store_object

ASKED = "replicatedstore.io/failover-to"
RECEIPT = {
    "epoch": 2,
    "from": "us-east",
    "to": "eu-west",
    "outcome": "Succeeded",
    "startedAt": "t",
    "writeGapSeconds": 0.2,
}
ABORTED = {**RECEIPT, "outcome": "Aborted"}


def running(step: str) -> dict[str, Any]:
    return {"mode": "Planned", "from": "us-east", "to": "eu-west", "epoch": 2, "step": step}


def operator_steps(cluster: FakeCluster, *steps: str) -> None:
    """Each look at the store finds it one step further; the last step is followed by the receipt."""

    def at(step: str) -> Any:
        return lambda fake: fake.objects["status"].update(failover=running(step))

    def finish(fake: FakeCluster) -> None:
        fake.objects["metadata"]["annotations"].clear()
        fake.objects["status"].update(failover=None, primaryRegion="eu-west", epoch=2, history=[RECEIPT])

    cluster.script = [*(at(step) for step in steps), finish]


def test_a_switchover_is_followed_to_its_receipt(run: Run, cluster: FakeCluster) -> None:
    operator_steps(cluster, "Demoting", "CatchingUp", "Promoting", "Repointing")
    ran = run("failover", "orders", "--to=eu-west")
    assert ran.code == 0, ran.err
    assert cluster.annotations == {"replicatedstore.io/failover-to": "eu-west"}
    assert [line.split()[-1] for line in ran.err.splitlines() if line.strip()][:4] == [
        "Demoting",
        "CatchingUp",
        "Promoting",
        "Repointing",
    ]
    assert "eu-west is primary" in ran.out
    assert "write gap 200ms" in ran.out


def test_as_json_the_receipt_is_the_result(run: Run, cluster: FakeCluster) -> None:
    operator_steps(cluster, "Demoting")
    ran = run("failover", "orders", "--to=eu-west", "-o", "json")
    assert json.loads(ran.out) == {"state": "Done", "message": "eu-west is primary", "receipt": RECEIPT}


def test_a_switchover_that_was_given_up_exits_1(run: Run, cluster: FakeCluster) -> None:
    def give_up(fake: FakeCluster) -> None:
        fake.objects["metadata"]["annotations"].clear()
        fake.objects["status"].update(history=[ABORTED], epoch=2)

    def explain(fake: FakeCluster) -> None:
        fake.recorded.append(event("e1", "Warning", "eu-west did not catch up within 30s"))

    cluster.script = [give_up, explain]
    ran = run("failover", "orders", "--to=eu-west")
    assert ran.code == 1
    assert "eu-west did not catch up within 30s" in ran.err


def test_a_refusal_is_reported_with_the_operators_words(run: Run, cluster: FakeCluster) -> None:
    def refuse(fake: FakeCluster) -> None:
        fake.objects["metadata"]["annotations"].clear()
        fake.recorded.append(event("e2", "Warning", "eu-west has no leader"))

    cluster.recorded = [event("e1", "Warning", "an old story")]
    cluster.script = [refuse]
    ran = run("failover", "orders", "--to=eu-west", "-o", "json")
    assert ran.code == 1
    assert json.loads(ran.out)["message"] == "eu-west has no leader"


def test_a_dry_run_sets_its_own_annotation_and_prints_the_answer(run: Run, cluster: FakeCluster) -> None:
    def answer(fake: FakeCluster) -> None:
        fake.objects["metadata"]["annotations"].clear()
        fake.recorded.append(event("e1", "Normal", "eu-west would become primary; nothing would be lost", "DryRun"))

    cluster.script = [answer]
    ran = run("failover", "orders", "--to=eu-west", "--dry-run")
    assert ran.code == 0
    assert cluster.annotations == {"replicatedstore.io/failover-dry-run": "eu-west"}
    assert "nothing would be lost" in ran.out


def test_an_abort_sets_its_own_annotation(run: Run, cluster: FakeCluster) -> None:
    run("failover", "orders", "--abort", "--no-wait")
    assert cluster.annotations == {"replicatedstore.io/abort-failover": "true"}


def test_no_wait_returns_at_once(run: Run, cluster: FakeCluster) -> None:
    ran = run("failover", "orders", "--to=eu-west", "--no-wait")
    assert ran.code == 0
    assert "rstore status orders -w" in ran.out


def test_an_operator_that_is_not_there_is_a_timeout_with_a_hint(run: Run, cluster: FakeCluster) -> None:
    ran = run("failover", "orders", "--to=eu-west", "--timeout=1")
    assert ran.code == 1
    assert "the operator has not taken it up" in ran.err
    assert "`kubectl annotate rstore orders replicatedstore.io/failover-to-` takes it back" in ran.err


def test_a_request_that_is_blocked_shows_the_reason(run: Run, cluster: FakeCluster) -> None:
    cluster.objects["status"]["conditions"].append(
        {"type": "FailoverBlocked", "status": "True", "reason": "NoMajority", "message": "1 of 3 voters can be reached"}
    )
    ran = run("failover", "orders", "--to=eu-west", "--forced", "--timeout=1")
    assert ran.code == 1
    assert "blocked, 1 of 3 voters can be reached" in ran.err


def test_a_paused_store_is_not_asked_for_what_it_would_not_do(run: Run, cluster: FakeCluster) -> None:
    cluster.objects["metadata"]["annotations"]["replicatedstore.io/paused"] = "true"
    ran = run("failover", "orders", "--to=eu-west")
    assert (ran.code, cluster.annotations) == (1, {})
    assert "is paused" in ran.err
    assert "not over" in run("failover", "orders", "--to=eu-west", "--dry-run", "--timeout=1").err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--to=mars",), 1, "it could move to: eu-west, ap-south"),
        (("--to=us-east",), 1, "is the primary"),
        (("--to=eu-west", "--forced", "--dry-run"), 2, "needs no --forced"),
        ((), 2, "which region?"),
        (("--to=eu-west", "--abort"), 2, "--abort goes alone"),
    ],
)
def test_invalid_requests_are_refused_before_anything_is_changed(
    run: Run, cluster: FakeCluster, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ran = run("failover", "orders", *arguments)
    assert ran.code == code
    assert message in ran.err
    assert cluster.annotations == {}


def test_a_second_switchover_has_to_wait_for_the_first(run: Run, cluster: FakeCluster) -> None:
    cluster.objects = store_object(failover=running("CatchingUp"))
    ran = run("failover", "orders", "--to=ap-south")
    assert ran.code == 1
    assert "under way (step CatchingUp)" in ran.err


# ---- the decision itself


def asked(**status: Any) -> dict[str, Any]:
    store = store_object(**status)
    store["metadata"]["annotations"][ASKED] = "eu-west"
    return store


def test_follow_waits_while_the_annotation_is_there() -> None:
    assert follow(store_object(), asked(), FAILOVER_TO, "eu-west", []).state is State.WAITING


def test_follow_ignores_an_older_receipt_for_the_same_region() -> None:
    before = store_object(history=[{**RECEIPT, "startedAt": "long ago"}])
    now = store_object(history=[{**RECEIPT, "startedAt": "long ago"}])
    assert follow(before, now, FAILOVER_TO, "eu-west", []).state is State.WAITING


def test_follow_reports_the_step_even_while_the_annotation_is_there() -> None:
    progress = follow(store_object(), asked(failover=running("Promoting")), FAILOVER_TO, "eu-west", [])
    assert (progress.state, progress.step) == (State.RUNNING, "Promoting")


def test_follow_takes_a_warning_during_a_successful_switchover_as_no_failure() -> None:
    now = store_object(primaryRegion="eu-west", history=[RECEIPT])
    news = [event("e1", "Warning", "ap-south does not answer")]
    progress = follow(store_object(), now, FAILOVER_TO, "eu-west", news)
    assert (progress.state, progress.receipt) == (State.DONE, RECEIPT)


def test_follow_of_a_dry_run_needs_its_answer_and_no_other_event() -> None:
    other = event("e1", "Normal", "eu-west: 3 replicas", "RegionReady")
    assert follow(store_object(), store_object(), FAILOVER_DRY_RUN, "eu-west", [other]).state is State.WAITING
    refused = event("e2", "Warning", "would be refused", "DryRun")
    progress = follow(store_object(), store_object(), FAILOVER_DRY_RUN, "eu-west", [refused, other])
    assert (progress.state, progress.message) == (State.FAILED, "would be refused")


def test_follow_of_an_abort_waits_until_the_old_primary_is_primary_again() -> None:
    before = store_object(failover=running("CatchingUp"))
    reverting = [event("e1", "Warning", "us-east becomes primary again", "SwitchoverReverting")]
    now = store_object(failover=running("Reverting"))
    assert follow(before, now, ABORT_FAILOVER, "", reverting) == Progress(State.RUNNING, step="Reverting")
    assert follow(before, store_object(history=[ABORTED]), ABORT_FAILOVER, "", reverting).state is State.DONE
    assert follow(before, store_object(history=[RECEIPT]), ABORT_FAILOVER, "", []).state is State.FAILED


def test_follow_of_an_abort_that_is_refused_does_not_wait_for_the_switchover() -> None:
    before = store_object(failover=running("Promoting"))
    news = [event("e1", "Warning", "too late to abort: eu-west is being promoted", "TooLateToAbort")]
    progress = follow(before, before, ABORT_FAILOVER, "", news)
    assert (progress.state, progress.message) == (State.FAILED, "too late to abort: eu-west is being promoted")


def test_follow_prefers_the_receipts_reason() -> None:
    now = store_object(history=[{**ABORTED, "reason": "eu-west did not catch up"}])
    assert follow(store_object(), now, FAILOVER_TO, "eu-west", []).message == "eu-west did not catch up"


def test_forced_says_so_beside_the_region(run: Run, cluster: FakeCluster) -> None:
    run("failover", "orders", "--to=eu-west", "--forced", "--no-wait")
    assert cluster.annotations == {
        "replicatedstore.io/failover-to": "eu-west",
        "replicatedstore.io/failover-mode": "forced",
    }


def test_promote_is_a_switchover_by_another_name(run: Run, cluster: FakeCluster) -> None:
    operator_steps(cluster, "Demoting")
    ran = run("promote", "orders", "eu-west")
    assert ran.code == 0, ran.err
    assert cluster.annotations == {FAILOVER_TO: "eu-west"}
    assert "eu-west is primary" in ran.out


@pytest.mark.parametrize(("arguments", "asked"), [((), "us-east"), (("eu-west",), "eu-west")])
@pytest.mark.parametrize(("kind", "possible"), [("Normal", True), ("Warning", False)])
def test_debug_fence_gives_the_answer_about_a_region(
    run: Run, cluster: FakeCluster, arguments: tuple[str, ...], asked: str, kind: str, possible: bool
) -> None:
    def answer(fake: FakeCluster) -> None:
        region = fake.objects["metadata"]["annotations"].pop(FAILOVER_DRY_RUN, None)
        if region is not None:
            fake.recorded.append(event("e1", kind, f"about {region}", "DryRun"))

    cluster.script = [answer] * 5
    ran = run("debug", "fence", "orders", *arguments, "-o", "json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == {"region": asked, "possible": possible, "answer": f"about {asked}"}


def test_debug_fence_refuses_a_region_that_the_store_does_not_have(run: Run, cluster: FakeCluster) -> None:
    ran = run("debug", "fence", "orders", "nowhere")
    assert (ran.code, 'no region "nowhere"' in ran.err) == (1, True)
    assert cluster.annotations == {}


def test_debug_asks_about_each_other_region_and_changes_nothing(run: Run, cluster: FakeCluster) -> None:
    def answer(fake: FakeCluster) -> None:
        region = fake.objects["metadata"]["annotations"].pop(FAILOVER_DRY_RUN, None)
        if region is not None:
            number = len(fake.recorded) + 1
            fake.recorded.append(event(f"e{number}", "Normal", f"{region} could take over", "DryRun"))

    cluster.script = [answer] * 10
    ran = run("debug", "failover", "orders")
    assert ran.code == 0, ran.err
    assert [line.split()[:2] for line in ran.out.splitlines()[1:]] == [["eu-west", "eu-west"], ["ap-south", "ap-south"]]
    assert set(cluster.annotations) == {FAILOVER_DRY_RUN}
