"""rstore maintenance and restart: the annotations that they set."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster

PAUSED = "replicatedstore.io/paused"
RESTARTED = "kubectl.kubernetes.io/restartedAt"


def test_maintenance_is_set_and_ended(run: Run, cluster: FakeCluster) -> None:
    ran = run("maintenance", "set", "orders")
    assert (ran.code, cluster.annotations[PAUSED]) == (0, "true")
    assert "is paused" in ran.out
    ran = run("maintenance", "unset", "orders", "-o", "json")
    assert (ran.code, cluster.annotations[PAUSED]) == (0, None)
    assert json.loads(ran.out) == {"paused": False}


def test_a_restart_is_asked_for_with_the_time(run: Run, cluster: FakeCluster) -> None:
    ran = run("restart", "orders")
    assert ran.code == 0, ran.err
    asked = datetime.fromisoformat(str(cluster.annotations[RESTARTED]))
    assert abs(datetime.now(UTC) - asked) < timedelta(minutes=1)
    assert "rstore status orders -w" in ran.out


def test_a_paused_store_is_not_restarted(run: Run, cluster: FakeCluster) -> None:
    cluster.objects["metadata"]["annotations"][PAUSED] = "true"
    ran = run("restart", "orders")
    assert ran.code == 1
    assert "maintenance unset orders" in ran.err
    assert RESTARTED not in cluster.annotations


def test_a_store_that_there_is_not_is_an_error(run: Run, cluster: FakeCluster) -> None:
    assert run("restart", "carts").code == 1
    assert not cluster.annotations
