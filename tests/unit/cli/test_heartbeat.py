"""A status that nobody refreshes is not shown as healthy."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from rstore_cli import heartbeat
from rstore_cli.errors import CliError, NotFoundError
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster, Object, store_object

CLAIM = {"namespace": "rstore-system", "lease": "rstore"}


def lease(version: str, *, age_seconds: float = 0.5, holder: str = "pod-1") -> Object:
    renewed = (datetime.now(UTC) - timedelta(seconds=age_seconds)).isoformat()
    return {
        "metadata": {"resourceVersion": version},
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 4},
    }


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleeping takes no time here, and is counted."""
    slept: list[float] = []
    begun = heartbeat.time.monotonic()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(heartbeat.asyncio, "sleep", sleep)
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: begun + sum(slept))
    return slept


def failing(run: Run, *arguments: str) -> str:
    """Returns what a command printed that ended with exit code 1."""
    ran = run(*arguments)
    assert ran.code == 1
    return ran.out


def observed_by(cluster: FakeCluster, *leases: Object | Exception) -> None:
    cluster.objects = store_object(operator=CLAIM)
    cluster.leases = list(leases)


def test_a_lease_that_was_renewed_just_now_is_enough(run: Run, cluster: FakeCluster, slept: list[float]) -> None:
    observed_by(cluster, lease("1"))
    assert "not observed" not in run("status", "orders").out
    assert slept == []


@pytest.mark.parametrize("age_seconds", [3600, -3600])
def test_a_clock_that_differs_makes_no_false_alarm(
    run: Run, cluster: FakeCluster, slept: list[float], age_seconds: float
) -> None:
    observed_by(cluster, lease("1", age_seconds=age_seconds), lease("2", age_seconds=age_seconds))
    assert "not observed" not in run("status", "orders").out
    assert len(slept) == 1


def test_a_lease_that_nobody_renews_is_shown_with_its_time_and_exits_1(
    run: Run, cluster: FakeCluster, slept: list[float]
) -> None:
    observed_by(cluster, old := lease("1", age_seconds=60))
    shown = failing(run, "status", "orders")
    assert f"not observed since {old['spec']['renewTime']}: pod-1 does not renew the Lease rstore-system/rstore" in (
        " ".join(shown.split())
    )
    assert sum(slept) > 4
    summary = json.loads(failing(run, "status", "orders", "-o", "json"))
    assert summary["ready"] is False
    assert summary["unobserved"].startswith("not observed since")


def test_a_lease_that_was_released_or_deleted_is_reported_at_once(
    run: Run, cluster: FakeCluster, slept: list[float]
) -> None:
    for shown, why in ((lease("1", holder=""), "no operator holds"), (NotFoundError("gone"), "there is no Lease")):
        observed_by(cluster, shown)
        assert why in " ".join(failing(run, "status", "orders").split())
    assert slept == []


def test_where_it_cannot_be_found_out_nothing_is_claimed(run: Run, cluster: FakeCluster) -> None:
    observed_by(cluster, CliError("not allowed: leases is forbidden"))
    assert "not observed" not in run("status", "orders").out
    cluster.objects = store_object()  # of an operator that did not name itself
    assert "not observed" not in run("status", "orders").out
