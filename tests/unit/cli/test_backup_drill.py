"""rstore backup drill: asks for a drill, and waits for its result."""

from __future__ import annotations

import json

import pytest
from rstore_api.domain.kubernetes import DRILL_REQUESTED_AT, PAUSED
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster

MADE = {
    "time": "2026-11-29T04:00:00Z",
    "result": "Succeeded",
    "revision": 42,
    "keys": 7,
    "rtoSeconds": 3.4,
    "rpoSeconds": 0.5,
    "region": "eu-west",
    "message": "7 keys at revision 42, as in region eu-west",
}


@pytest.fixture(autouse=True)
def archived(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.objects["spec"] = {**cluster.objects.get("spec", {}), "backup": {"destination": "s3://backups/orders"}}
    monkeypatch.setattr("rstore_cli.backup.drill.LOOK_SECONDS", 0.0)


def show(cluster: FakeCluster, **fields: object) -> None:
    cluster.objects["status"]["backup"] = {"lastDrill": {**MADE, **fields}}


def answer(cluster: FakeCluster, **fields: object) -> None:
    """Has an older drill shown at the first look, and the one that was asked for at the second."""
    show(cluster, result="Failed", request="an older one")
    cluster.script = [
        lambda _cluster: None,
        lambda cluster: show(cluster, request=cluster.annotations[DRILL_REQUESTED_AT], **fields),
    ]


def test_a_drill_is_asked_for_and_waited_for(run: Run, cluster: FakeCluster) -> None:
    answer(cluster)
    ran = run("backup", "drill", "orders")
    assert ran.code == 0, ran.err
    assert ran.out.strip().replace("\n", " ") == (
        "Succeeded: 7 keys at revision 42, as in region eu-west; restored in 3.4s (RTO); "
        "the newest archived state was 500ms old (RPO)"
    )


def test_one_that_fails_has_exit_code_1(run: Run, cluster: FakeCluster) -> None:
    answer(cluster, result="Failed", message="the archive has no base", revision=0)
    ran = run("backup", "drill", "orders", "-o", "json")
    assert ran.code == 1
    assert json.loads(ran.out)["message"] == "the archive has no base"


def test_what_takes_too_long(run: Run, cluster: FakeCluster) -> None:
    show(cluster, request="an older one")
    cluster.objects["status"]["conditions"] = [{"type": "BackupHealthy", "message": "nothing can be restored yet"}]
    ran = run("backup", "drill", "orders", "--wait=0.01")
    assert ran.code == 1
    assert "the drill has not ended after 0.01 s: nothing can be restored yet" in ran.err


@pytest.mark.parametrize(
    ("backup", "annotations", "why"),
    [
        (None, {}, "has no spec.backup"),
        ({"destination": "s3://b", "suspend": True}, {}, "is suspended"),
        ({"destination": "s3://b"}, {PAUSED: "true"}, "is paused"),
    ],
)
def test_a_store_that_cannot_answer_is_asked_for_nothing(
    run: Run, cluster: FakeCluster, backup: dict[str, object] | None, annotations: dict[str, str], why: str
) -> None:
    cluster.objects["spec"]["backup"] = backup
    cluster.objects["metadata"]["annotations"] = annotations
    ran = run("backup", "drill", "orders")
    assert ran.code == 1
    assert why in ran.err
    assert cluster.annotations == {}
