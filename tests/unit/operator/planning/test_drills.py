"""Drills: what the archiver is asked for, what status shows of it, and that it is persisted what was made."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from rstore_api.domain.kubernetes import DRILL_REQUESTED_AT
from rstore_backup.config import decode
from rstore_backup.report import BaseReport, DrillReport, DrillResult, Phase, Report
from rstore_operator.facts.archiver import NO_ARCHIVER, ArchiverObserved, ArchiverPod
from rstore_operator.planning.children.ownership import archiver_keys
from rstore_operator.planning.drills import MAX_MESSAGE, MAX_REQUEST, drills, last_drill
from rstore_operator.resource.state import BackupDrill, BackupStatus, StoreStatus
from rstore_operator.resource.state_json import status_from_json, status_to_json
from rstore_operator.specs.archiver import Drills
from unit.operator.world import SPEC as STORE
from unit.operator.world import World

AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
EQUAL = "5 keys at revision 9, as in region eu-west"
REPORTED = DrillReport(AT_MS + 345, DrillResult.SUCCEEDED, EQUAL, 9, 5, 1.234, 0.567, "eu-west", "now")
SHOWN = BackupDrill(AT, DrillResult.SUCCEEDED, 9, 5, 1.2, 0.6, "eu-west", EQUAL, "now")


def seen(drill: DrillReport | None, now_ms: int = AT_MS) -> ArchiverObserved:
    base = BaseReport(revision=9, epoch=1, time_ms=now_ms, rows=5, size_bytes=100, duration_ms=5)
    report = Report(
        Phase.ARCHIVING,
        now_ms,
        region="eu-west",
        archived_revision=9,
        archived_time_ms=now_ms,
        first_recoverable_revision=9,
        first_recoverable_ms=now_ms,
        last_base=base,
        last_drill=drill,
    )
    return ArchiverObserved(ArchiverPod("pod", "10.0.0.9"), report)


def test_the_last_drill_is_what_is_reported_or_what_was_persisted() -> None:
    assert last_drill(None, NO_ARCHIVER) is None
    assert last_drill(None, seen(None)) is None
    assert last_drill(BackupStatus(), seen(REPORTED)) == SHOWN
    persisted = BackupStatus(last_drill=SHOWN)
    assert last_drill(persisted, NO_ARCHIVER) == SHOWN
    assert last_drill(persisted, seen(None)) == SHOWN, "an archiver that was restarted knows of none"
    assert last_drill(persisted, seen(REPORTED)) is SHOWN
    older = msgspec.structs.replace(REPORTED, time_ms=AT_MS - 1000, message="older")
    assert last_drill(persisted, seen(older)) == SHOWN
    put_back = last_drill(persisted, seen(msgspec.structs.replace(older, request="again")))
    assert put_back is not None
    assert (put_back.request, put_back.message) == ("again", "older")


def test_a_drill_of_the_schedule_leaves_the_answered_request() -> None:
    by_schedule = msgspec.structs.replace(REPORTED, time_ms=AT_MS + 60_000, request="")
    shown = last_drill(BackupStatus(last_drill=SHOWN), seen(by_schedule))
    assert shown is not None
    assert (shown.time, shown.request) == (AT + timedelta(minutes=1), "now")


@pytest.mark.parametrize(
    ("annotation", "last", "expected"),
    [
        ("", None, Drills()),
        ("now", None, Drills("now")),
        ("now", SHOWN, Drills("", AT_MS)),
        ("again", SHOWN, Drills("again", AT_MS)),
        ("x" * 1000, None, Drills("x" * MAX_REQUEST)),
    ],
)
def test_what_the_archiver_is_asked_for(annotation: str, last: BackupDrill | None, expected: Drills) -> None:
    annotations = {DRILL_REQUESTED_AT: annotation} if annotation else {}
    assert drills(annotations, last) == expected


def test_a_long_message_is_cut() -> None:
    shown = last_drill(None, seen(msgspec.structs.replace(REPORTED, message="x" * 100_000)))
    assert shown is not None
    assert len(shown.message) == MAX_MESSAGE


def test_status_is_read_as_it_was_written() -> None:
    status = StoreStatus(backup=BackupStatus(last_drill=SHOWN))
    raw = status_to_json(status)
    assert raw["backup"]["lastDrill"] == {
        "time": "2026-03-10T12:00:00Z",
        "result": "Succeeded",
        "revision": 9,
        "keys": 5,
        "rtoSeconds": 1.2,
        "rpoSeconds": 0.6,
        "region": "eu-west",
        "message": EQUAL,
        "request": "now",
    }
    assert status_from_json(raw) == status


def config_of(world: World) -> dict[str, Any]:
    text = world.children[archiver_keys("orders")[0]]["data"]["archive.json"]
    decode(text.encode())
    config: dict[str, Any] = json.loads(text)
    return config


def test_a_request_goes_to_the_archiver_until_it_is_answered_and_its_result_into_status() -> None:
    world = World({**copy.deepcopy(STORE), "backup": {"destination": "s3://b", "drill": {"schedule": "0 4 * * SUN"}}})
    now_ms = int(world.now.timestamp() * 1000)
    world.archiver = seen(None, now_ms)
    world.settle()
    assert {"drillSchedule": "0 4 * * SUN", "drillLastMs": 0}.items() <= config_of(world).items()
    assert "drillRequest" not in config_of(world)

    world.annotations[DRILL_REQUESTED_AT] = "now"
    world.settle()
    assert config_of(world)["drillRequest"] == "now"
    assert "UnknownAnnotation" not in {item["type"] for item in world.status["conditions"]}
    world.compare_objects = False
    assert not world.decide().stands, "the archiver is asked soon whether it is made"

    made = msgspec.structs.replace(REPORTED, time_ms=now_ms)
    world.archiver = seen(made, now_ms)
    world.settle()
    assert "drillRequest" not in config_of(world), "though objects are compared only where something has changed"
    assert config_of(world)["drillLastMs"] == now_ms // 1000 * 1000
    assert world.decide().stands
    assert world.status["backup"]["lastDrill"]["request"] == "now"
    assert world.events.count(("BackupDrillSucceeded", f"{EQUAL}; RTO 1.2 s, RPO 0.6 s")) == 1

    world.archiver = NO_ARCHIVER
    world.settle()
    assert world.status["backup"]["lastDrill"]["request"] == "now"
    failed = msgspec.structs.replace(
        made, time_ms=now_ms + 60_000, result=DrillResult.FAILED, message="no base", request=""
    )
    world.archiver = seen(failed, now_ms)
    world.settle()
    conditions = {item["type"]: (item["status"], item["reason"]) for item in world.status["conditions"]}
    assert conditions["BackupHealthy"] == ("False", "DrillFailed")
    assert conditions["Ready"][0] == "True"
    assert world.decide().stands, "it is looked at no more often than others"
