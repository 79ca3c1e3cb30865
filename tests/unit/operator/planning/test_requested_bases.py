"""Bases that somebody asks for: what the archiver is asked to make, and what their objects show."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from rstore_backup.config import decode
from rstore_backup.report import BaseProgress, BaseReport, ErrorReport, Phase, Problem, Report
from rstore_operator.cluster.requested_bases import read_requested_base, status_patch
from rstore_operator.facts.archiver import NO_ARCHIVER, ArchiverObserved
from rstore_operator.planning.requested_bases import INVALID, RESTORING, plan_requested, requests_of, without_store
from rstore_operator.resource.backup import ArchivePlace, BackupSpec
from rstore_operator.resource.requested_base import BasePhase, BaseStatus, RequestedBase
from unit.operator.world import REF, SPEC, World

BACKUP = BackupSpec("s3://backups/orders")
OWNED = ({"kind": "ReplicatedStore", "uid": REF.uid},)
BASE = RequestedBase(
    "before-upgrade",
    "uid-b",
    "7",
    "2026-03-10T00:00:00Z",
    retain=False,
    deadline_seconds=3600,
    owners=OWNED,
    status=None,
)
ASKED = datetime(2026, 3, 10, tzinfo=UTC)
NOW = ASKED + timedelta(seconds=30)
MADE_MS = int(ASKED.timestamp() * 1000)
MADE = datetime.fromtimestamp(MADE_MS / 1000, UTC)
EMPTY = Report(phase=Phase.ARCHIVING, time_ms=MADE_MS)
ANSWER = BaseReport(revision=42, epoch=1, time_ms=MADE_MS, rows=3, size_bytes=99, duration_ms=5000, request="uid-b")
MAKING = BaseProgress(revision=42, rows=1, size_bytes=1, begun_ms=MADE_MS, request="uid-b")
BROKEN = ErrorReport(Problem.ACCESS_REFUSED, "no such key", MADE_MS, MADE_MS)
OTHER = msgspec.structs.replace(ANSWER, request="uid-of-another")
COMPLETED = BaseStatus(
    BasePhase.COMPLETED, 42, 99, started_at=datetime(2026, 3, 9, 23, 59, 55, tzinfo=UTC), completed_at=MADE
)


def seen(**fields: Any) -> ArchiverObserved:
    return ArchiverObserved(report=msgspec.structs.replace(EMPTY, **fields))


TABLE: list[tuple[str, BackupSpec | None, ArchiverObserved, BaseStatus]] = [
    ("no archive", None, NO_ARCHIVER, BaseStatus(error="the store has no spec.backup")),
    ("suspended", replace(BACKUP, suspend=True), NO_ARCHIVER, BaseStatus(error="spec.backup.suspend is true")),
    ("no report", BACKUP, NO_ARCHIVER, BaseStatus()),
    ("not begun", BACKUP, seen(bases=(OTHER,), last_base=OTHER), BaseStatus()),
    ("cannot begin", BACKUP, seen(error=BROKEN), BaseStatus(error="no such key")),
    ("another is made", BACKUP, seen(making=msgspec.structs.replace(MAKING, request="")), BaseStatus()),
    ("is made", BACKUP, seen(making=MAKING), BaseStatus(BasePhase.RUNNING, 42, started_at=MADE)),
    ("among the newest", BACKUP, seen(bases=(ANSWER, OTHER), last_base=OTHER), COMPLETED),
    ("the newest", BACKUP, seen(last_base=ANSWER), COMPLETED),
    ("made before the archive was given up", None, seen(last_base=ANSWER), COMPLETED),
]


@pytest.mark.parametrize(("_what", "spec", "archiver", "status"), TABLE, ids=[row[0] for row in TABLE])
def test_the_table(_what: str, spec: BackupSpec | None, archiver: ArchiverObserved, status: BaseStatus) -> None:
    plan = plan_requested(REF, spec, [BASE], archiver, NOW)
    [update] = plan.updates
    assert (update.name, update.resource_version, update.status, update.owners) == (BASE.name, "7", status, None)
    assert plan.waits is (status.phase is not BasePhase.COMPLETED)
    assert plan_requested(REF, spec, [replace(BASE, status=status)], archiver, NOW).updates == (), (
        "nothing is written twice"
    )


def broken(problem: Problem, since_seconds: float, last_seconds: float, report_seconds: float) -> ArchiverObserved:
    """Bases fail from a moment on, did so last at another, and the report is of a third, in seconds after ASKED."""
    error = ErrorReport(problem, "no such key", MADE_MS + int(last_seconds * 1000), MADE_MS + int(since_seconds * 1000))
    return seen(time_ms=MADE_MS + int(report_seconds * 1000), error=error, base_error=error)


PENDING, FAILED = BasePhase.PENDING, BasePhase.FAILED
LASTING = broken(Problem.ACCESS_REFUSED, -3600, 50, 60)
FAILURES: list[tuple[str, BackupSpec | None, ArchiverObserved, float, BasePhase, str]] = [
    ("a store may come later", None, NO_ARCHIVER, 119, PENDING, "the store has no spec.backup"),
    ("no archive", None, NO_ARCHIVER, 120, FAILED, "the store has no spec.backup"),
    ("refused since long ago", BACKUP, LASTING, 61, FAILED, "no such key"),
    ("not tried since", BACKUP, broken(Problem.ACCESS_REFUSED, -3600, -1, 60), 61, PENDING, "no such key"),
    ("not for long enough", BACKUP, broken(Problem.ACCESS_REFUSED, 1, 50, 60), 61, PENDING, "no such key"),
    ("no such bucket", BACKUP, broken(Problem.DESTINATION_INVALID, 1, 50, 61), 61, FAILED, "no such key"),
    ("of another store", BACKUP, broken(Problem.WRONG_STORE, 1, 50, 61), 61, FAILED, "no such key"),
    ("damaged", BACKUP, broken(Problem.ARCHIVE_DAMAGED, 1, 50, 61), 61, FAILED, "no such key"),
    ("may be over at the next try", BACKUP, broken(Problem.CANNOT_WRITE, 1, 50, 3000), 3000, PENDING, "no such key"),
    (
        "something else fails",
        BACKUP,
        seen(time_ms=MADE_MS + 90_000, error=msgspec.structs.replace(BROKEN, time_ms=MADE_MS + 80_000)),
        90,
        PENDING,
        "no such key",
    ),
    ("suspended for long", replace(BACKUP, suspend=True), NO_ARCHIVER, 3599, PENDING, "spec.backup.suspend is true"),
]
LATE: list[tuple[str, BackupSpec | None, ArchiverObserved, str]] = [
    ("suspended", replace(BACKUP, suspend=True), NO_ARCHIVER, "spec.backup.suspend is true"),
    ("no report", BACKUP, NO_ARCHIVER, "it had not begun"),
    ("is made", BACKUP, seen(making=MAKING), "it was being made"),
    ("cannot", BACKUP, broken(Problem.CANNOT_READ, 1, 50, 3600), "no such key"),
]


@pytest.mark.parametrize(
    ("_what", "spec", "archiver", "seconds", "phase", "error"), FAILURES, ids=[row[0] for row in FAILURES]
)
def test_when_one_fails(
    _what: str, spec: BackupSpec | None, archiver: ArchiverObserved, seconds: float, phase: BasePhase, error: str
) -> None:
    plan = plan_requested(REF, spec, [BASE], archiver, ASKED + timedelta(seconds=seconds))
    [update] = plan.updates
    assert (update.status.phase, update.status.error) == (phase, error)
    assert plan.waits is (phase is PENDING)


@pytest.mark.parametrize(("_what", "spec", "archiver", "why"), LATE, ids=[row[0] for row in LATE])
def test_one_that_takes_too_long_fails(
    _what: str, spec: BackupSpec | None, archiver: ArchiverObserved, why: str
) -> None:
    [update] = plan_requested(REF, spec, [BASE], archiver, ASKED + timedelta(seconds=3600)).updates
    assert update.status.phase is FAILED
    text = f"it was not complete 3600 s after it was asked for (spec.deadlineSeconds): {why}"
    assert update.status.error == text


def test_one_that_was_made_in_time_is_complete_however_late_that_is_seen() -> None:
    [update] = plan_requested(REF, BACKUP, [BASE], seen(last_base=ANSWER), ASKED + timedelta(days=9)).updates
    assert update.status == COMPLETED


def test_while_the_spec_is_invalid_nobody_knows_whether_there_is_a_backup() -> None:
    for seconds, phase in ((3599, PENDING), (3600, FAILED)):
        late = ASKED + timedelta(seconds=seconds)
        [update] = plan_requested(REF, None, [BASE], NO_ARCHIVER, late, unknown=INVALID).updates
        assert update.status.phase is phase
        assert "the spec of the store is invalid" in update.status.error


def test_a_complete_one_says_where_its_archive_is() -> None:
    spec = replace(BACKUP, endpoint="http://minio:9000", credentials_secret="keys")
    [update] = plan_requested(REF, spec, [BASE], seen(last_base=ANSWER, store_id="id"), NOW).updates
    archive = update.status.archive
    assert archive is not None
    assert archive.store_id == "id"
    assert archive.place == ArchivePlace("s3://backups/orders", "", "http://minio:9000", "keys")
    [update] = plan_requested(REF, BACKUP, [BASE], seen(last_base=ANSWER), NOW, unknown=RESTORING).updates
    assert update.status.phase is BasePhase.COMPLETED
    [update] = plan_requested(REF, None, [BASE], NO_ARCHIVER, NOW, unknown=RESTORING).updates
    assert update.status == BaseStatus(error="the store is being restored")


@pytest.mark.parametrize("status", [COMPLETED, BaseStatus(FAILED, error="no such key")])
def test_what_is_final_stays_so(status: BaseStatus) -> None:
    late = ASKED + timedelta(days=9)
    for archiver in (seen(error=BROKEN), seen(making=MAKING), seen(last_base=ANSWER), NO_ARCHIVER):
        plan = plan_requested(REF, BACKUP, [replace(BASE, status=status)], archiver, late)
        assert (plan.updates, plan.waits) == ((), False)
    assert without_store(replace(BASE, status=status), "orders", late) == status
    assert requests_of([replace(BASE, status=status)]) == ()


@pytest.mark.parametrize(
    ("seconds", "deadline", "phase"), [(119, 3600, PENDING), (120, 3600, FAILED), (9, 10, PENDING), (10, 10, FAILED)]
)
def test_a_store_that_is_not_there(seconds: float, deadline: int, phase: BasePhase) -> None:
    base = replace(BASE, deadline_seconds=deadline)
    status = without_store(base, "orders", ASKED + timedelta(seconds=seconds))
    assert status.phase is phase
    assert "there is no ReplicatedStore orders in this namespace" in status.error


def test_the_store_owns_it_unless_it_is_to_be_retained() -> None:
    other = {"kind": "ConfigMap", "uid": "other"}
    plan = plan_requested(REF, BACKUP, [replace(BASE, owners=(other,), status=COMPLETED)], NO_ARCHIVER, NOW)
    [update] = plan.updates
    assert update.owners is not None
    assert [owner["uid"] for owner in update.owners] == ["other", REF.uid]
    assert update.owners[1]["controller"] is False
    retained = replace(BASE, owners=(), retain=True, status=COMPLETED)
    assert plan_requested(REF, BACKUP, [retained], NO_ARCHIVER, NOW).updates == ()


def test_the_oldest_that_are_not_complete_are_asked_for() -> None:
    bases = [
        replace(BASE, uid=f"uid-{number:02}", created_at=f"2026-03-10T00:00:{59 - number:02}Z") for number in range(40)
    ]
    bases[39] = replace(bases[39], status=COMPLETED)
    asked = requests_of(bases)
    assert asked == tuple(f"uid-{number:02}" for number in range(38, 6, -1))


def test_an_object_is_read_as_it_was_written() -> None:
    for status in (COMPLETED, BaseStatus(error="x"), BaseStatus()):
        patch = status_patch(status)
        assert patch.keys() == {"phase", "revision", "bytes", "startedAt", "completedAt", "error", "archive"}
        body = {
            "metadata": {"name": "n", "uid": "u", "resourceVersion": "1", "creationTimestamp": "t"},
            "spec": {"store": "orders", "deadlineSeconds": 60},
            "status": {name: value for name, value in patch.items() if value is not None},
        }
        read = read_requested_base(body)
        assert read == RequestedBase("n", "u", "1", "t", retain=False, deadline_seconds=60, owners=(), status=status)
    without = {**body, "spec": {"store": "orders"}, "status": {"phase": "Whatever"}}
    assert read_requested_base(without).deadline_seconds == 3600
    assert read_requested_base(without).status is None


def test_a_request_goes_to_the_archiver_until_it_is_answered() -> None:
    def asked(world: World) -> tuple[str, ...]:
        config = world.children["ConfigMap", "orders-archiver"]["data"]["archive.json"]
        return decode(config.encode()).requests

    world = World({**copy.deepcopy(SPEC), "backup": {"destination": "s3://backups/orders"}})
    world.settle()
    assert asked(world) == ()
    world.requested_bases = (replace(BASE, owners=()),)
    world.settle()
    assert asked(world) == ("uid-b",)
    assert world.requested_bases[0].status == BaseStatus()
    assert world.requested_bases[0].owners
    now_ms = int(world.now.timestamp() * 1000)
    answer = msgspec.structs.replace(ANSWER, time_ms=now_ms)
    report = msgspec.structs.replace(EMPTY, time_ms=now_ms, last_base=answer, first_recoverable_revision=42)
    world.archiver = ArchiverObserved(report=report)
    world.settle()
    assert world.requested_bases[0].is_done
    assert asked(world) == ()


def test_a_base_waits_while_the_spec_is_invalid() -> None:
    world = World(copy.deepcopy(SPEC))
    world.settle()
    world.spec = {"regions": []}
    world.requested_bases = (BASE,)
    world.settle()
    assert world.requested_bases[0].status == BaseStatus(error="the spec of the store is invalid")
