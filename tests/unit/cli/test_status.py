"""rstore status: what a person sees of `.status`."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml
from rstore_cli.status import condition_lines, receipt_line, step_durations
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster, store_object

RECEIPT = {
    "epoch": 2,
    "from": "eu-west",
    "to": "us-east",
    "trigger": "Annotation",
    "outcome": "Succeeded",
    "writeGapSeconds": 0.345,
    "revisionsLost": 0,
    "finishedAt": "2026-01-01T00:00:00Z",
}


def test_a_ready_store_shows_its_regions_and_exits_0(run: Run, cluster: FakeCluster) -> None:
    ran = run("status", "orders")
    assert ran.code == 0
    rows = [line.split() for line in ran.out.splitlines()]
    assert "phase Steady  primary us-east  epoch 1" in ran.out
    assert ["us-east", "Primary", "Ready", "3/3", "-", "9", "-", "-"] in rows
    assert ["eu-west", "Secondary", "Ready", "2/3", "orders-eu-west-1", "8", "8", "4ms", "(2KiB)"] in rows


def test_a_cut_off_region_is_shown_as_such(run: Run, cluster: FakeCluster) -> None:
    cluster.objects["status"]["regions"][1]["connected"] = False
    assert "not connected" in run("status", "orders").out


def test_nothing_is_cut_when_there_is_no_terminal(run: Run, cluster: FakeCluster) -> None:
    cluster.objects["status"]["regions"][1]["leader"] = "x" * 200
    assert "x" * 200 in run("status", "orders").out


def test_a_store_that_is_not_ready_says_why_and_exits_1(run: Run, cluster: FakeCluster) -> None:
    cluster.objects = store_object(
        phase="Degraded",
        conditions=[
            {"type": "Ready", "status": "False", "reason": "RegionLost", "message": "eu-west has no leader"},
            {"type": "Degraded", "status": "True", "reason": "RegionLost", "message": "eu-west has no leader"},
        ],
    )
    ran = run("status", "orders")
    assert ran.code == 1
    assert "Ready=False RegionLost: eu-west has no leader" in ran.out


def test_a_region_in_trouble_shows_its_message(run: Run, cluster: FakeCluster) -> None:
    cluster.objects["status"]["regions"][1]["message"] = "no leader for 5s"
    assert "eu-west: no leader for 5s" in run("status", "orders").out


def test_a_store_without_a_status_is_shown_as_such(run: Run, cluster: FakeCluster) -> None:
    del cluster.objects["status"]
    ran = run("status", "orders")
    assert ran.code == 1
    assert "the operator has not looked at this store yet" in ran.out


def test_a_change_of_primary_under_way_and_the_last_ones_are_shown(run: Run, cluster: FakeCluster) -> None:
    cluster.objects = store_object(
        failover={"mode": "Planned", "from": "us-east", "to": "eu-west", "epoch": 3, "step": "CatchingUp"},
        history=[RECEIPT],
    )
    out = run("status", "orders").out
    assert "us-east → eu-west, epoch 3, step CatchingUp" in out
    assert "epoch 2: eu-west → us-east  Annotation  Succeeded  write gap 345ms  revisions lost 0" in out


def test_json_and_yaml_carry_the_whole_status(run: Run, cluster: FakeCluster) -> None:
    parsed = json.loads(run("status", "orders", "-o", "json").out)
    assert parsed == yaml.safe_load(run("status", "orders", "-o", "yaml").out)
    assert parsed["name"] == "orders"
    assert parsed["ready"] is True
    assert parsed["regions"] == cluster.objects["status"]["regions"]


def test_the_archive_is_one_line(run: Run, cluster: FakeCluster) -> None:
    assert "archived" not in run("status", "orders").out
    cluster.objects["status"]["backup"] = {"archivedRevision": 7}
    assert "archived up to revision 7; nothing can be restored yet" in run("status", "orders").out
    cluster.objects["status"]["backup"] = {
        "archivedRevision": 9,
        "lagSeconds": 2.5,
        "firstRecoverable": "2026-01-01T00:00:00Z",
        "lastRecoverable": "2026-01-02T03:00:00Z",
        "lastBase": {"revision": 5, "at": "2026-01-02T00:00:00Z"},
    }
    line = (
        "archived up to revision 9, 2.5s behind; can be restored to any moment from 2026-01-01T00:00:00Z to "
        "2026-01-02T03:00:00Z; last base 2026-01-02T00:00:00Z"
    )
    assert line in run("status", "orders").out


def test_an_archive_in_trouble_is_shown_and_the_store_is_ready(run: Run, cluster: FakeCluster) -> None:
    trouble = {"type": "BackupHealthy", "status": "False", "reason": "AccessRefused", "message": "no such key"}
    cluster.objects["status"]["conditions"].append(trouble)
    ran = run("status", "orders")
    assert "BackupHealthy=False AccessRefused: no such key" in ran.out
    assert ran.code == 0


def test_an_unknown_store_is_an_error_with_exit_code_1(run: Run, cluster: FakeCluster) -> None:
    ran = run("status", "nothing")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith('error: replicatedstore "nothing" was not found')


def test_watching_as_json_is_a_usage_error(run: Run, cluster: FakeCluster) -> None:
    assert run("status", "orders", "-w", "-o", "json").code == 2


def test_watching_without_a_terminal_prints_each_change_once(
    run: Run, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    async def next_look(_seconds: float) -> None:
        looks.append("look")
        if len(looks) == 2:
            cluster.objects["status"]["epoch"] = 2
        if len(looks) == 4:
            raise asyncio.CancelledError  # as an interrupt arrives

    monkeypatch.setattr("rstore_cli.status.asyncio.sleep", next_look)
    ran = run("status", "orders", "-w")
    assert ran.code == 0
    assert ran.out.count("phase Steady") == 2
    assert "epoch 1" in ran.out.split("epoch 2")[0]
    assert "stopped watching" in ran.err


def test_good_conditions_are_not_troubles() -> None:
    good = [("Ready", "True"), ("Degraded", "False"), ("Progressing", "True"), ("Unheard", "False")]
    assert condition_lines({"conditions": [{"type": kind, "status": value} for kind, value in good]}) == []


def test_a_receipt_shows_how_long_each_step_took() -> None:
    receipt = {
        "steps": [
            {"name": "Demoting", "startedAt": "2026-01-01T00:00:00.000000Z"},
            {"name": "Promoting", "startedAt": "2026-01-01T00:00:00.120000Z"},
        ],
        "finishedAt": "2026-01-01T00:00:01.620000Z",
    }
    assert step_durations(receipt) == [("Demoting", 0.12), ("Promoting", 1.5)]
    assert "(Demoting 120ms, Promoting 1.5s)" in receipt_line(receipt)
    assert step_durations({**receipt, "finishedAt": None}) == []


def test_a_receipt_without_details_is_still_one_line() -> None:
    assert receipt_line({}).strip() == "epoch ?: ? → ?"


def test_what_was_compared_is_one_line_and_a_region_that_differs_another(run: Run, cluster: FakeCluster) -> None:
    us_east, eu_west = cluster.objects["status"]["regions"]
    assert "compared" not in run("status", "orders").out
    us_east["hash"], eu_west["hash"] = ({"revision": at, "value": "0000000a", "differs": False} for at in (9, 5))
    assert "data compared at revision 9: equal in 1 of 2 regions" in run("status", "orders").out
    eu_west["hash"] = {"revision": 9, "value": "0000000b", "differs": True}
    shown = run("status", "orders").out
    assert "eu-west: has other data than the others, 0000000b at revision 9" in shown
    assert "equal" not in shown


def test_the_loss_is_not_final_while_a_region_is_away(run: Run, cluster: FakeCluster) -> None:
    receipt = {**RECEIPT, "mode": "Automatic"}
    cluster.objects["status"]["history"] = [receipt]
    assert "revisions lost 0  2026" in run("status", "orders").out
    cluster.objects["status"]["regions"][1]["phase"] = "Lost"
    assert "revisions lost 0 as far as known (eu-west is away)  2026" in run("status", "orders").out
    cluster.objects["status"]["history"] = [{**receipt, "mode": "Planned"}]
    assert "as far as known" not in run("status", "orders").out


def test_nothing_is_shown_twice(run: Run, cluster: FakeCluster) -> None:
    eu_west = cluster.objects["status"]["regions"][1]
    eu_west |= {"message": "no replica answers", "phase": "Lost", "connected": False, "ackedRevision": 0}
    lost = {"type": "Degraded", "status": "True", "reason": "RegionLost", "message": "eu-west: no replica answers"}
    cluster.objects["status"]["conditions"].append(lost)
    out = run("status", "orders").out
    assert out.count("no replica answers") == 1
    assert ["eu-west", "Secondary", "Lost", "2/3", "orders-eu-west-1", "8", "-", "not", "connected"] in [
        line.split() for line in out.splitlines()
    ]


def test_a_change_and_a_request_that_waits_are_shown_with_since_when() -> None:
    conditions = [
        {"type": "Progressing", "status": "Unknown", "reason": "Paused", "message": "changes wait"},
        {"type": "RequestPending", "status": "True", "reason": "TargetBehind", "message": "eu-west is behind"},
    ]
    status = {"conditions": conditions, "pendingRequest": {"value": "eu-west", "since": "2026-01-01T00:00:00Z"}}
    assert condition_lines(status) == [
        "Progressing=Unknown Paused: changes wait",
        "RequestPending=True TargetBehind: eu-west is behind (since 2026-01-01T00:00:00Z)",
    ]
