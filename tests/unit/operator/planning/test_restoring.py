"""A new store that begins with a past state: when it does, who is kept out, and when it is complete."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from rstore_api.domain import names
from rstore_api.domain.access import OPEN, AccessRules
from rstore_backup.restore_report import Pinned, RestoreError, RestorePhase, RestoreProblem, RestoreReport
from rstore_operator.facts.archiver import ArchiverPod
from rstore_operator.facts.observed import InForce, Observed, Pod, RegionObserved, ReplicaStatus
from rstore_operator.facts.restorer import NO_RESTORER, RestorerObserved
from rstore_operator.facts.truth import Truth
from rstore_operator.planning.restoring import Bootstrap, RestorePlan, decide_bootstrap, pinned_of, plan_restore
from rstore_operator.resource.backup import ArchivePlace
from rstore_operator.resource.bootstrap import BootstrapSpec, Moment
from rstore_operator.resource.requested_base import BaseArchive
from rstore_operator.resource.state import BootstrapPhase, BootstrapStatus

NOW = datetime(2026, 3, 10, tzinfo=UTC)
PLACE = ArchivePlace("s3://backups/stores", credentials_secret="keys")
SPEC = BootstrapSpec(place=PLACE, source_name="orders", at=Moment(revision=41))
REGIONS = ("us-east", "eu-west")
RULES = AccessRules(version=1, restoring=True)
TRUTH = Truth(frozenset({"id"}), "us-east", 1, 1, 0)
PINNED = Pinned("old-id", "default/orders", 41, 1, 1_000_000_098)
BEGUN = BootstrapStatus(BootstrapPhase.RESTORING, started_at=NOW)
SETTLED = msgspec.structs.replace(
    BEGUN,
    store_id="old-id",
    store="default/orders",
    archived_revision=41,
    archived_epoch=1,
    revision=1_000_000_098,
    keys=7,
)
RUNNING = ArchiverPod("orders-restorer-1", "10.0.0.9")


def replica(region: str, revision: int = 1, store_id: str = "id", access: InForce | None = None) -> ReplicaStatus:
    return ReplicaStatus(
        name=f"orders-{region}-0",
        region=region,
        store_id=store_id,
        is_leader=True,
        leader=f"orders-{region}-0",
        term=1,
        revision=revision,
        epoch=1 if store_id else 0,
        promised_epoch=0,
        primary=region == "us-east",
        writable=region == "us-east",
        access=access or InForce(RULES.version, RULES.digest),
    )


def seen(
    *replicas: ReplicaStatus, restorer: RestorerObserved = NO_RESTORER, rules: AccessRules | None = RULES, **more: Any
) -> Observed:
    regions = {
        each.region: RegionObserved(each.region, (Pod(each.name, each.region, "10.0.0.1", ready=True),), (each,))
        for each in replicas
    }
    children: dict[tuple[str, str], Any] = {}
    for region in REGIONS if rules is not None else ():
        data = {"access.json": rules.encode().decode()} if rules is not None and rules.version else {}
        children["ConfigMap", names.region_object("orders", region)] = {"data": data}
    return Observed(regions=regions, children=children, restorer=restorer, **more)


FRESH = (replica("us-east", store_id=""), replica("eu-west", store_id=""))
OPEN_REPLICA = replica("us-east", access=InForce(0, ""))
OF_BACKUP = BootstrapSpec(backup="b")
KEPT_OUT = Bootstrap(None, shuts_out=True, settled=False)
AS_THEY_ARE = Bootstrap(None, shuts_out=False, settled=False)


def decide(
    observed: Observed, spec: BootstrapSpec | None = SPEC, before: BootstrapStatus | None = None, recorded: str = ""
) -> Bootstrap:
    return decide_bootstrap(spec, before, recorded, "orders", REGIONS, observed, NOW)


@pytest.mark.parametrize(
    ("_what", "observed", "decided"),
    [
        ("nothing is there yet", seen(rules=None), KEPT_OUT),
        ("its pods start", seen(), KEPT_OUT),
        ("one region has no leader yet", seen(FRESH[0]), KEPT_OUT),
        ("all are empty", seen(*FRESH), Bootstrap(BEGUN, shuts_out=True)),
        (
            "all are empty, and have an id: the status was lost",
            seen(replica("us-east"), replica("eu-west")),
            Bootstrap(BEGUN, shuts_out=True),
        ),
        ("it runs, and nobody answers", seen(rules=OPEN), AS_THEY_ARE),
        ("it runs under rules, and nobody answers", seen(rules=AccessRules(version=3)), AS_THEY_ARE),
        ("it runs, and one region answers", seen(replica("eu-west"), rules=None), AS_THEY_ARE),
        ("its objects were left alone", seen(rules=None, orphans={("ConfigMap", "orders-us-east"): {}}), AS_THEY_ARE),
    ],
)
def test_only_an_empty_store_is_restored(_what: str, observed: Observed, decided: Bootstrap) -> None:
    assert decide(observed) == decided


@pytest.mark.parametrize(
    ("observed", "recorded", "why"),
    [
        (seen(rules=OPEN), "id", "was there already"),
        (seen(replica("eu-west", revision=2), rules=OPEN), "", "hold data already"),
        (seen(replica("us-east"), replica("eu-west", revision=9)), "", "hold data already"),
    ],
)
def test_a_store_with_a_past_is_left_as_it_is(observed: Observed, recorded: str, why: str) -> None:
    decided = decide(observed, recorded=recorded)
    assert decided.status is not None
    assert decided.status.phase is BootstrapPhase.IGNORED
    assert why in decided.status.message
    assert (decided.shuts_out, decided.settled) == (False, True)


def test_what_is_decided_stays_so() -> None:
    used = seen(replica("us-east", revision=9), replica("eu-west", revision=9))
    for phase in BootstrapPhase:
        status = BootstrapStatus(phase)
        for spec in (SPEC, None, replace(SPEC, at=Moment(revision=2))):
            if phase is BootstrapPhase.IGNORED and spec is None:
                continue
            decided = decide(used, spec, status, "id")
            assert decided == Bootstrap(status, shuts_out=phase is BootstrapPhase.RESTORING)
    assert decide(seen(*FRESH), None) == Bootstrap()


def test_what_was_ignored_is_forgotten_with_the_field_that_was() -> None:
    ignored = BootstrapStatus(BootstrapPhase.IGNORED, message="it was there")
    used = seen(replica("us-east", revision=9))
    assert decide(used, None, ignored, "id") == Bootstrap()
    invalid = decide_bootstrap(None, ignored, "id", "orders", (), used, NOW)
    assert invalid == Bootstrap(ignored), "nobody knows what an invalid spec has"


def plan(
    *,
    status: BootstrapStatus = SETTLED,
    report: RestoreReport | None = None,
    restorer: RestorerObserved | None = None,
    spec: BootstrapSpec | None = SPEC,
    replicas: tuple[ReplicaStatus, ...] = (replica("us-east"), replica("eu-west")),
    truth: Truth = TRUTH,
    deployment: dict[str, Any] | None = None,
    shown: bool = False,
) -> RestorePlan:
    looked = restorer or RestorerObserved(RUNNING, report, credentials="")
    bootstrap = Bootstrap(status, shuts_out=status.phase is BootstrapPhase.RESTORING)
    observed = seen(*replicas, restorer=looked)
    return plan_restore(spec, bootstrap, RULES, "id", REGIONS, observed, truth, deployment, NOW, shown=shown)


def reported(phase: RestorePhase = RestorePhase.FILLING, **fields: Any) -> RestoreReport:
    return RestoreReport(phase=phase, time_ms=100_000, **fields)


COMPLETED = reported(RestorePhase.COMPLETED, pinned=PINNED, keys=7)


def reason(planned: RestorePlan) -> tuple[bool | None, str]:
    assert planned.finding is not None
    return planned.finding.status, planned.finding.reason


def test_what_is_settled_is_recorded_and_handed_to_the_restorer() -> None:
    planned = plan(status=BEGUN, report=reported(RestorePhase.SETTLED, pinned=PINNED, keys=7))
    assert pinned_of(planned.status) == PINNED
    assert planned.restore is not None
    assert (planned.restore.pinned, planned.restore.at, planned.restore.source_name) == (PINNED, SPEC.at, "orders")
    assert reason(planned) == (False, "Settled")
    other = msgspec.structs.replace(PINNED, revision=40)
    planned = plan(report=reported(RestorePhase.SETTLED, pinned=other, keys=6))
    assert pinned_of(planned.status) == other, "the store is still empty, and another state is to come"


@pytest.mark.parametrize(
    ("_what", "fields", "expected"),
    [
        ("the store does not run", {"truth": replace(TRUTH, epoch=0)}, "Waiting"),
        ("the field is gone", {"spec": None}, "SourceMissing"),
        ("no pod", {"restorer": NO_RESTORER}, "Waiting"),
        ("a pod that is refused", {"restorer": NO_RESTORER, "deployment": {"status": {"conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "quota"}]}}}, "NotStarted"),
        ("a pod that does not start", {"restorer": RestorerObserved(ArchiverPod("p", "", "no image"))}, "NotStarted"),
        ("a pod without an address", {"restorer": RestorerObserved(ArchiverPod("p", ""))}, "Waiting"),
        ("a pod that does not answer", {"restorer": RestorerObserved(RUNNING, silence="refused")}, "Waiting"),
        ("it reads", {"report": reported(RestorePhase.READING, done=3, total=10)}, "Reading"),
        ("it fills", {"report": reported(done=3, total=10)}, "Filling"),
        ("a replica lets clients in", {"replicas": (OPEN_REPLICA, replica("eu-west"))}, "Waiting"),
        ("a backup that is looked for", {"spec": OF_BACKUP, "restorer": NO_RESTORER}, "Waiting"),
        ("a backup that is not there", {"spec": OF_BACKUP, "restorer": RestorerObserved(base_problem="x")}, "NoBackup"),
    ],
)  # fmt: skip
def test_while_it_is_not_complete(_what: str, fields: dict[str, Any], expected: str) -> None:
    planned = plan(**fields)
    assert reason(planned) == (False, expected)
    assert planned.status is not None
    assert planned.status.phase is BootstrapPhase.RESTORING


def test_an_old_replica_would_let_clients_in() -> None:
    old = replace(replica("us-east"), access=None)
    planned = plan(replicas=(old, replica("eu-west")))
    assert reason(planned) == (False, "ReplicasTooOld")
    assert planned.restore is None


def test_a_restorer_that_runs_is_left_alone_while_something_is_not_known() -> None:
    late = (replica("us-east", access=InForce(1, "")), replica("eu-west"))
    assert plan(replicas=late).restore is None
    assert plan(replicas=late, deployment={}).restore is not None
    full = tuple(replica(region, revision=PINNED.final_revision) for region in REGIONS)
    restorer = RestorerObserved(RUNNING, COMPLETED, base_problem="there is no ReplicatedStoreBackup b")
    planned = plan(spec=OF_BACKUP, restorer=restorer, replicas=full)
    assert planned.status is not None
    assert planned.status.phase is BootstrapPhase.COMPLETED, "its backup was deleted in the meantime"


def test_a_backup_says_where_its_archive_is() -> None:
    archive = BaseArchive("old-id", "s3://backups/stores", credentials_secret="keys")
    planned = plan(
        spec=BootstrapSpec(backup="b"), restorer=RestorerObserved(RUNNING, None, credentials="x", base=archive)
    )
    assert planned.restore is not None
    assert (planned.restore.place, planned.restore.source_id) == (PLACE, "old-id")


@pytest.mark.parametrize(
    ("problem", "since_ms", "expected"),
    [
        (RestoreProblem.ACCESS_REFUSED, 100_000, "AccessRefused"),
        (RestoreProblem.NOT_RESTORABLE, 100_000, "NotRestorable"),
        (RestoreProblem.ARCHIVE_NOT_READ, 80_000, "Filling"),
        (RestoreProblem.ARCHIVE_NOT_READ, 70_000, "ArchiveNotRead"),
        (RestoreProblem.STORE_NOT_READY, 70_000, "StoreNotReady"),
    ],
)
def test_what_keeps_it_from_going_on_is_said(problem: RestoreProblem, since_ms: int, expected: str) -> None:
    planned = plan(report=reported(error=RestoreError(problem, "the reason", 100_000, since_ms)))
    assert reason(planned) == (False, expected)
    assert planned.restore is not None, "it is tried again"


def test_it_is_complete_when_every_region_that_answers_has_all_of_it() -> None:
    full, late = PINNED.final_revision, replica("eu-west")
    primary = replica("us-east", revision=full)
    waits = plan(report=COMPLETED, replicas=(primary, late))
    assert reason(waits) == (False, "CatchingUp")
    for replicas in ((primary, replica("eu-west", revision=full + 3)), (primary,)):
        done = plan(report=COMPLETED, replicas=replicas)
        assert reason(done) == (False, "LettingIn")
        assert done.restore is None
        assert done.status is not None
        assert (done.status.phase, done.status.completed_at, done.status.keys) == (BootstrapPhase.COMPLETED, NOW, 7)
    assert reason(plan(report=COMPLETED, replicas=(replica("eu-west", revision=full),))) == (False, "CatchingUp")


def test_a_report_of_a_state_that_is_not_recorded_completes_nothing() -> None:
    full = tuple(replica(region, revision=PINNED.final_revision) for region in REGIONS)
    for status in (BEGUN, msgspec.structs.replace(SETTLED, archived_revision=40)):
        planned = plan(status=status, report=COMPLETED, replicas=full)
        assert planned.status is not None
        assert planned.status.phase is BootstrapPhase.RESTORING


def test_it_is_shown_as_restored_once_every_replica_lets_clients_in() -> None:
    status = msgspec.structs.replace(SETTLED, phase=BootstrapPhase.COMPLETED)
    late = (OPEN_REPLICA, replica("eu-west"))
    planned = plan(status=status, replicas=late)
    assert reason(planned) == (False, "LettingIn")
    assert planned.finding is not None
    assert "orders-us-east-0" in planned.finding.message
    assert reason(plan(status=status, replicas=late, shown=True)) == (True, "Completed"), "it stays so"
    assert reason(plan(status=status)) == (True, "Completed")


def test_what_has_ended_is_shown_and_nothing_more_is_done() -> None:
    for phase, shown in ((BootstrapPhase.COMPLETED, (True, "Completed")), (BootstrapPhase.IGNORED, (False, "Ignored"))):
        status = msgspec.structs.replace(SETTLED, phase=phase)
        planned = plan(status=status, report=reported(RestorePhase.READING))
        assert (reason(planned), planned.restore, planned.status) == (shown, None, status)
