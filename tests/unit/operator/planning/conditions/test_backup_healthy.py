"""BackupHealthy: a table of what is seen of the archiver, and what the condition says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from rstore_api.domain.schedule import Schedule
from rstore_backup.report import (
    BaseProgress,
    BaseReport,
    DrillProgress,
    DrillResult,
    ErrorReport,
    Phase,
    Problem,
    Report,
)
from rstore_operator.facts.archiver import NO_ARCHIVER, ArchiverObserved, ArchiverPod
from rstore_operator.planning.conditions.backup_healthy import backup_healthy, backup_notices, is_unsettled
from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.state import BackupDrill, BackupStatus, Condition, StoreStatus

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
SPEC = BackupSpec("s3://backups/orders", schedule=Schedule("0 0 * * *"))
POD = ArchiverPod("orders-archiver-5c8f-x2x", "10.0.0.9")
HOUR_MS = 3_600_000


def base(hours_ago: float) -> BaseReport:
    made_ms = NOW_MS - int(hours_ago * HOUR_MS)
    return BaseReport(revision=900, epoch=1, time_ms=made_ms, rows=10, size_bytes=100, duration_ms=5)


WELL = Report(
    phase=Phase.ARCHIVING,
    time_ms=NOW_MS,
    region="eu-west",
    archived_revision=1000,
    archived_time_ms=NOW_MS,
    first_recoverable_revision=900,
    first_recoverable_ms=NOW_MS - 12 * HOUR_MS,
    last_base=base(12),
)


def failing(problem: Problem, seconds: float) -> Report:
    error = ErrorReport(problem, "it says no", NOW_MS, NOW_MS - int(seconds * 1000))
    return msgspec.structs.replace(WELL, phase=Phase.FAILING, error=error)


def reported(report: Report) -> ArchiverObserved:
    return ArchiverObserved(POD, report)


def changed(**fields: Any) -> ArchiverObserved:
    return reported(msgspec.structs.replace(WELL, **fields))


HOLE = "revisions 7 to 20 were compacted before they were archived"
MAKING = BaseProgress(revision=5, rows=1, size_bytes=1, begun_ms=NOW_MS)
TABLE: list[tuple[str, ArchiverObserved, bool | None, str]] = [
    ("nothing is there", NO_ARCHIVER, None, "NotStarted"),
    ("the pod does not start", ArchiverObserved(replace(POD, ip="", problem="ErrImagePull")), False, "NotStarted"),
    ("the pod does not run", ArchiverObserved(replace(POD, ip="")), None, "NotStarted"),
    ("it does not answer", ArchiverObserved(POD, silence="refused"), None, "NotAnswering"),
    ("it has just begun", changed(phase=Phase.STARTING), None, "NotStarted"),
    ("all is well", reported(WELL), True, "Archiving"),
    ("a pod that is replaced", ArchiverObserved(None, WELL), True, "Archiving"),
    ("the first base is made", changed(last_base=None, first_recoverable_revision=0, making=MAKING), None, "NoBase"),
    ("the chain has no base", changed(first_recoverable_revision=0), None, "NoBase"),
    ("the log was lost", changed(first_recoverable_revision=0, hole=HOLE), False, "LogLost"),
    ("the log was lost, and there is a new base", changed(hole=HOLE), True, "Archiving"),
    ("a write failed once", reported(failing(Problem.CANNOT_WRITE, 5)), True, "Archiving"),
    ("writes fail", reported(failing(Problem.CANNOT_WRITE, 31)), False, "CannotWrite"),
    ("reads fail", reported(failing(Problem.CANNOT_READ, 31)), False, "CannotRead"),
    ("wrong credentials", reported(failing(Problem.ACCESS_REFUSED, 0)), False, "AccessRefused"),
    ("no such bucket", reported(failing(Problem.DESTINATION_INVALID, 0)), False, "DestinationInvalid"),
    ("another store's archive", reported(failing(Problem.WRONG_STORE, 0)), False, "WrongStore"),
    ("a broken chain", reported(failing(Problem.ARCHIVE_DAMAGED, 0)), False, "ArchiveDamaged"),
    ("a lag within bounds", changed(lag_seconds=59.0), True, "Archiving"),
    ("a lag", changed(lag_seconds=61.0), False, "Behind"),
    ("yesterday's base", changed(last_base=base(35.9)), True, "Archiving"),
    ("the base before yesterday's", changed(last_base=base(36.1)), False, "BaseLate"),
]


@pytest.mark.parametrize(("_what", "seen", "status", "reason"), TABLE, ids=[row[0] for row in TABLE])
def test_the_table(_what: str, seen: ArchiverObserved, status: bool | None, reason: str) -> None:
    finding = backup_healthy(SPEC, seen, None, None, NOW)
    assert finding is not None
    assert (finding.type, finding.status, finding.reason) == ("BackupHealthy", status, reason)
    assert finding.message
    assert is_unsettled(finding) is (status is None)


def test_every_problem_that_an_archiver_reports_has_a_row() -> None:
    assert {problem.value for problem in Problem} <= {reason for _, _, _, reason in TABLE}


def test_a_store_without_backup_says_nothing_and_a_suspended_one_waits_for_nothing() -> None:
    assert backup_healthy(None, NO_ARCHIVER, None, None, NOW) is None
    finding = backup_healthy(replace(SPEC, suspend=True), NO_ARCHIVER, None, None, NOW)
    assert finding is not None
    assert (finding.status, finding.reason) == (None, "Suspended")
    assert not is_unsettled(finding)


def test_a_pod_that_cannot_be_created_is_reported_in_its_controllers_words() -> None:
    refusal = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}
    finding = backup_healthy(SPEC, NO_ARCHIVER, {"status": {"conditions": [refusal]}}, None, NOW)
    assert finding is not None
    assert finding.status is False
    assert "exceeded quota: pods" in finding.message


def test_a_lag_is_measured_by_the_interval_of_the_spec() -> None:
    slow = replace(SPEC, log_interval_ms=60_000)
    finding = backup_healthy(slow, changed(lag_seconds=299.0), None, None, NOW)
    assert finding is not None
    assert finding.status is True


DRILLED = replace(SPEC, drill_schedule=Schedule("0 6 * * *"))


def drill(hours_ago: float, result: DrillResult = DrillResult.SUCCEEDED) -> BackupDrill:
    return BackupDrill(NOW - timedelta(hours=hours_ago), result, message="no base")


@pytest.mark.parametrize(
    ("what", "spec", "last", "seen", "reason"),
    [
        ("there was none", DRILLED, None, reported(WELL), "Archiving"),
        ("it has succeeded", DRILLED, drill(6), reported(WELL), "Archiving"),
        ("it has failed", DRILLED, drill(6, DrillResult.FAILED), reported(WELL), "DrillFailed"),
        ("one that was asked for has failed", SPEC, drill(999, DrillResult.FAILED), reported(WELL), "DrillFailed"),
        ("one is missing", DRILLED, drill(29.9), reported(WELL), "Archiving"),
        ("two are missing", DRILLED, drill(30.1), reported(WELL), "DrillLate"),
        ("it is under way", DRILLED, drill(30.1), changed(drilling=DrillProgress(NOW_MS)), "Archiving"),
        ("none is scheduled", SPEC, drill(999), reported(WELL), "Archiving"),
        ("the archive is behind", DRILLED, drill(6, DrillResult.FAILED), changed(lag_seconds=61.0), "Behind"),
    ],
)
def test_drills(what: str, spec: BackupSpec, last: BackupDrill | None, seen: ArchiverObserved, reason: str) -> None:
    finding = backup_healthy(spec, seen, None, last, NOW)
    assert finding is not None
    assert (finding.status, finding.reason) == (reason == "Archiving", reason), what


def test_a_failed_drill_says_when_and_why() -> None:
    finding = backup_healthy(SPEC, reported(WELL), None, drill(6, DrillResult.FAILED), NOW)
    assert finding is not None
    assert finding.message == "the drill at 2026-03-10 06:00 UTC has failed: no base"


def test_messages_stand_still_while_the_numbers_move() -> None:
    later = NOW + timedelta(minutes=3)
    for _, seen, _, _ in TABLE:
        report = seen.report
        if report is None:
            continue
        moved = msgspec.structs.replace(
            report, time_ms=report.time_ms + 180_000, archived_revision=2000, region_revision=2001,
            lag_seconds=report.lag_seconds * 1.01, lag_revisions=7,
        )  # fmt: skip
        one, two = (
            backup_healthy(SPEC, replace(seen, report=each), None, None, at)
            for each, at in ((report, NOW), (moved, later))
        )
        assert one is not None
        if report.error is None:
            assert one == two


def status_with(status: str, reason: str, hole: str = "") -> StoreStatus:
    return StoreStatus(conditions=(Condition("BackupHealthy", status, reason, "text"),), backup=BackupStatus(hole=hole))


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        (StoreStatus(), status_with("Unknown", "NotStarted"), []),
        (status_with("Unknown", "NoBase"), status_with("True", "Archiving"), ["BackupArchiving"]),
        (status_with("True", "Archiving"), status_with("True", "Archiving"), []),
        (status_with("True", "Archiving"), status_with("False", "Behind"), ["BackupBehind"]),
        (status_with("False", "Behind"), status_with("False", "Behind"), []),
        (status_with("False", "Behind"), status_with("False", "CannotWrite"), ["BackupCannotWrite"]),
        (status_with("False", "Behind"), status_with("True", "Archiving"), ["BackupArchiving"]),
        (status_with("True", "Archiving"), StoreStatus(), []),
        (status_with("False", "NotStarted"), status_with("False", "LogLost", HOLE), ["BackupLogLost"]),
        (status_with("False", "LogLost", HOLE), status_with("True", "Archiving", HOLE), ["BackupArchiving"]),
        (status_with("True", "Archiving"), status_with("True", "Archiving", HOLE), ["BackupLogLost"]),
        (status_with("True", "Archiving", HOLE), status_with("True", "Archiving", HOLE), []),
        (status_with("True", "Archiving", HOLE), status_with("True", "Archiving", "another"), ["BackupLogLost"]),
        (status_with("True", "Archiving", HOLE), status_with("True", "Archiving"), []),
    ],
)
def test_events(before: StoreStatus, after: StoreStatus, events: list[str]) -> None:
    notices = list(backup_notices(before, after))
    assert [notice.reason for notice in notices] == events
    assert [notice.warning for notice in notices] == [reason != "BackupArchiving" for reason in events]
