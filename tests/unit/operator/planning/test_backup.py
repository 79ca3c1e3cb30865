"""``status.backup``: what is shown of the archiver's report, and when it is written."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import msgspec
from rstore_backup.report import BaseReport, ErrorReport, Phase, Problem, Report
from rstore_operator.facts.archiver import NO_ARCHIVER, ArchiverObserved, ArchiverPod
from rstore_operator.planning.backup import backup_status
from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.significance import due
from rstore_operator.resource.state import BackupBase, BackupStatus, StoreStatus
from rstore_operator.resource.state_json import status_from_json, status_to_json
from unit.operator.world import SPEC as STORE
from unit.operator.world import World

SPEC = BackupSpec("s3://backups/orders")
MADE = datetime(2026, 3, 10, tzinfo=UTC)
MADE_MS = int(MADE.timestamp() * 1000)
REPORT = Report(
    phase=Phase.ARCHIVING,
    time_ms=MADE_MS + 60_000,
    region="eu-west",
    archived_revision=1000,
    archived_time_ms=MADE_MS + 59_999,
    lag_revisions=3,
    lag_seconds=0.4567,
    first_recoverable_revision=900,
    first_recoverable_ms=MADE_MS,
    last_base=BaseReport(revision=900, epoch=1, time_ms=MADE_MS, rows=10, size_bytes=100, duration_ms=5),
)
SHOWN = BackupStatus(
    region="eu-west",
    archived_revision=1000,
    lag_revisions=3,
    lag_seconds=0.5,
    first_recoverable_revision=900,
    first_recoverable=MADE,
    last_recoverable=datetime(2026, 3, 10, 0, 0, 59, tzinfo=UTC),
    last_base=BackupBase(900, MADE, 100),
)


def seen(report: Report) -> ArchiverObserved:
    return ArchiverObserved(ArchiverPod("pod", "10.0.0.9"), report)


def test_a_report_becomes_status() -> None:
    assert backup_status(SPEC, seen(REPORT), None) == SHOWN


def test_without_a_report_what_was_shown_stays_and_without_backup_nothing_does() -> None:
    assert backup_status(SPEC, NO_ARCHIVER, SHOWN) == SHOWN
    assert backup_status(SPEC, NO_ARCHIVER, None) == BackupStatus()
    assert backup_status(None, seen(REPORT), SHOWN) is None


def test_an_archive_without_a_base_restores_nothing() -> None:
    report = Report(phase=Phase.ARCHIVING, time_ms=MADE_MS, archived_revision=5, archived_time_ms=MADE_MS)
    status = backup_status(SPEC, seen(report), None)
    assert status == BackupStatus(archived_revision=5)


def test_times_that_make_no_sense_are_left_out() -> None:
    report = msgspec.structs.replace(REPORT, first_recoverable_ms=-5, archived_time_ms=1 << 62)
    status = backup_status(SPEC, seen(report), None)
    assert status is not None
    assert (status.first_recoverable, status.last_recoverable) == (None, None)


def test_a_store_at_rest_is_written_every_ten_minutes_at_most() -> None:
    shown, writes = SHOWN, 0
    for second in range(0, 3600, 15):
        report = msgspec.structs.replace(REPORT, archived_time_ms=REPORT.archived_time_ms + second * 1000)
        after = backup_status(SPEC, seen(report), shown)
        assert after is not None
        if due(StoreStatus(backup=shown), StoreStatus(backup=after), 15.0):
            shown, writes = after, writes + 1
    assert writes == 5


def test_what_is_worth_a_write_at_once() -> None:
    numbers = msgspec.structs.replace(SHOWN, archived_revision=1001, lag_revisions=1)
    base = msgspec.structs.replace(SHOWN, last_base=BackupBase(1000, MADE, 5))
    before = StoreStatus(backup=SHOWN)
    assert not due(before, StoreStatus(backup=numbers), 1.0)
    assert due(before, StoreStatus(backup=numbers), 5.0)
    assert due(before, StoreStatus(backup=base), 1.0)


def test_the_error_is_shown() -> None:
    error = ErrorReport(Problem.ACCESS_REFUSED, "the key is not known", MADE_MS, MADE_MS)
    status = backup_status(SPEC, seen(msgspec.structs.replace(REPORT, error=error)), SHOWN)
    assert status is not None
    assert status.error == "the key is not known"


def test_status_is_read_as_it_was_written() -> None:
    status = StoreStatus(backup=SHOWN)
    raw = status_to_json(status)
    assert raw["backup"] == {
        "region": "eu-west",
        "archivedRevision": 1000,
        "lagRevisions": 3,
        "lagSeconds": 0.5,
        "firstRecoverableRevision": 900,
        "firstRecoverable": "2026-03-10T00:00:00Z",
        "lastRecoverable": "2026-03-10T00:00:59Z",
        "lastBase": {"revision": 900, "at": "2026-03-10T00:00:00Z", "bytes": 100},
    }
    assert status_from_json(raw) == status


def test_the_archive_never_makes_the_store_unready_and_a_store_that_is_archived_rests() -> None:
    world = World({**copy.deepcopy(STORE), "backup": {"destination": "s3://backups/orders"}})
    world.settle()
    conditions = {item["type"]: (item["status"], item["reason"]) for item in world.status["conditions"]}
    assert conditions["BackupHealthy"] == ("Unknown", "NotStarted")
    assert (conditions["Ready"][0], conditions["Degraded"][0], world.status["phase"]) == ("True", "False", "Steady")
    world.compare_objects = False
    assert not world.decide().stands, "it is looked at soon, since it is about to change"
    world.compare_objects = True
    now_ms = int(world.now.timestamp() * 1000)
    base = msgspec.structs.replace(REPORT.last_base, time_ms=now_ms)
    world.archiver = seen(msgspec.structs.replace(REPORT, time_ms=now_ms, last_base=base))
    world.settle()
    conditions = {item["type"]: (item["status"], item["reason"]) for item in world.status["conditions"]}
    assert conditions["BackupHealthy"] == ("True", "Archiving")
    assert world.status["backup"]["archivedRevision"] == 1000
    world.compare_objects = False
    assert world.decide().stands
    world.compare_objects = True
    assert ("BackupArchiving", "what eu-west has is archived in s3://backups/orders") in world.events
    broken = ErrorReport(Problem.WRONG_STORE, "it is of another store", now_ms, now_ms)
    world.archiver = seen(msgspec.structs.replace(REPORT, phase=Phase.FAILING, time_ms=now_ms, error=broken))
    world.settle()
    conditions = {item["type"]: (item["status"], item["reason"]) for item in world.status["conditions"]}
    assert conditions["BackupHealthy"] == ("False", "WrongStore")
    assert (conditions["Ready"][0], conditions["Degraded"][0], world.status["phase"]) == ("True", "False", "Steady")
    world.spec = {"regions": []}
    world.settle()
    assert world.status["backup"]["archivedRevision"] == 1000, "an invalid spec says nothing about it"
    world.spec = STORE
    world.settle()
    assert "backup" not in world.status
    assert "BackupHealthy" not in {item["type"] for item in world.status["conditions"]}
