"""rstore backup now: asks for a base, and waits until it is complete."""

from __future__ import annotations

import json

import pytest
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster

COMPLETED = {"phase": "Completed", "revision": 42, "bytes": 2048}


@pytest.fixture(autouse=True)
def archived(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.objects["spec"] = {**cluster.objects.get("spec", {}), "backup": {"destination": "s3://backups/orders"}}
    monkeypatch.setattr("rstore_cli.backup.now.LOOK_SECONDS", 0.0)


def test_a_base_is_asked_for_and_waited_for(run: Run, cluster: FakeCluster) -> None:
    cluster.base_statuses = [{}, {"phase": "Running"}, COMPLETED]
    ran = run("backup", "now", "orders", "--retain")
    assert ran.code == 0, ran.err
    assert ran.out.strip() == "orders-x7k2p: base at revision 42, 2KiB"
    assert ran.err.splitlines() == ["orders-x7k2p: Pending", "orders-x7k2p: Running"]
    assert cluster.requested["spec"] == {"store": "orders", "retain": True}


def test_the_status_is_there_as_json(run: Run, cluster: FakeCluster) -> None:
    cluster.base_statuses = [COMPLETED]
    assert json.loads(run("backup", "now", "orders", "-o", "json").out) == {"name": "orders-x7k2p", **COMPLETED}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({}, "the operator has not taken it up; is it running?"),
        ({"phase": "Pending", "error": "no such bucket"}, "no such bucket"),
        ({"phase": "Running", "error": ""}, "it is being made"),
    ],
)
def test_what_takes_too_long_says_why(run: Run, cluster: FakeCluster, status: dict[str, str], why: str) -> None:
    cluster.base_statuses = [status]
    ran = run("backup", "now", "orders", "--wait=0.01")
    assert ran.code == 1
    assert f"orders-x7k2p is not complete after 0.01 s: {why}" in ran.err
    assert "kubectl get rstorebackup orders-x7k2p" in ran.err


def test_one_that_fails_ends_the_command(run: Run, cluster: FakeCluster) -> None:
    cluster.base_statuses = [{"phase": "Pending"}, {"phase": "Failed", "error": "no such bucket"}]
    ran = run("backup", "now", "orders")
    assert ran.code == 1
    assert "orders-x7k2p has failed: no such bucket" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    ("backup", "why"), [(None, "has no spec.backup"), ({"destination": "s3://b", "suspend": True}, "is suspended")]
)
def test_a_store_that_is_not_archived_is_asked_for_nothing(
    run: Run, cluster: FakeCluster, backup: dict[str, object] | None, why: str
) -> None:
    cluster.objects["spec"]["backup"] = backup
    ran = run("backup", "now", "orders")
    assert ran.code == 1
    assert why in ran.err
    assert cluster.requested == {}
