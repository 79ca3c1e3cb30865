"""Bases that somebody asks for: what the archiver is asked to make, and what their objects show."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from rstore_backup.config import decode
from rstore_backup.report import BaseProgress, BaseReport, ErrorReport, Phase, Problem, Report
from rstore_operator.cluster.requested_bases import read_requested_base, status_patch
from rstore_operator.facts.archiver import NO_ARCHIVER, ArchiverObserved
from rstore_operator.planning.requested_bases import plan_requested, requests_of
from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.requested_base import BasePhase, BaseStatus, RequestedBase
from unit.operator.world import REF, SPEC, World

BACKUP = BackupSpec("s3://backups/orders")
OWNED = ({"kind": "ReplicatedStore", "uid": REF.uid},)
BASE = RequestedBase("before-upgrade", "uid-b", "7", "2026-03-10T00:00:00Z", retain=False, owners=OWNED, status=None)
MADE_MS = 1_773_100_800_000
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
    plan = plan_requested(REF, spec, [BASE], archiver)
    [update] = plan.updates
    assert (update.name, update.resource_version, update.status, update.owners) == (BASE.name, "7", status, None)
    assert plan.waits is (status.phase is not BasePhase.COMPLETED)
    assert plan_requested(REF, spec, [replace(BASE, status=status)], archiver).updates == (), "nothing is written twice"


def test_what_is_complete_stays_so() -> None:
    plan = plan_requested(REF, BACKUP, [replace(BASE, status=COMPLETED)], seen(error=BROKEN))
    assert (plan.updates, plan.waits) == ((), False)


def test_the_store_owns_it_unless_it_is_to_be_retained() -> None:
    other = {"kind": "ConfigMap", "uid": "other"}
    plan = plan_requested(REF, BACKUP, [replace(BASE, owners=(other,), status=COMPLETED)], NO_ARCHIVER)
    [update] = plan.updates
    assert update.owners is not None
    assert [owner["uid"] for owner in update.owners] == ["other", REF.uid]
    assert update.owners[1]["controller"] is False
    retained = replace(BASE, owners=(), retain=True, status=COMPLETED)
    assert plan_requested(REF, BACKUP, [retained], NO_ARCHIVER).updates == ()


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
        assert patch.keys() == {"phase", "revision", "bytes", "startedAt", "completedAt", "error"}
        body = {
            "metadata": {"name": "n", "uid": "u", "resourceVersion": "1", "creationTimestamp": "t"},
            "spec": {"store": "orders"},
            "status": {name: value for name, value in patch.items() if value is not None},
        }
        read = read_requested_base(body)
        assert read == RequestedBase("n", "u", "1", "t", retain=False, owners=(), status=status)
    assert read_requested_base({**body, "status": {"phase": "Whatever"}}).status is None


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


def test_nothing_is_written_while_the_spec_is_invalid() -> None:
    world = World(copy.deepcopy(SPEC))
    world.settle()
    world.spec = {"regions": []}
    world.requested_bases = (BASE,)
    world.settle()
    assert world.requested_bases == (BASE,)
