"""rstore logs: whose line it is, of which replicas, and what cannot be read."""

from __future__ import annotations

import pytest
from rstore_cli.cluster import Pod
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster


@pytest.fixture
def logged(cluster: FakeCluster) -> FakeCluster:
    cluster.replicas = [Pod("orders-us-east-0", "us-east", True), Pod("orders-eu-west-0", "eu-west", False)]
    cluster.logs = {"orders-us-east-0": "one\ntwo\nthree\n", "orders-eu-west-0": "four\n"}
    return cluster


def test_each_line_has_its_pod(run: Run, logged: FakeCluster) -> None:
    ran = run("logs", "orders", "--tail=2")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "orders-eu-west-0  four",
        "orders-us-east-0  two",
        "orders-us-east-0  three",
    ]


def test_one_region_may_be_chosen(run: Run, logged: FakeCluster) -> None:
    assert run("logs", "orders", "--region=eu-west").out == "orders-eu-west-0  four\n"
    ran = run("logs", "orders", "--region=mars")
    assert ran.code == 1
    assert 'region "mars" of store "orders" has no pods' in ran.err


def test_a_log_that_cannot_be_read_does_not_hide_the_others(run: Run, logged: FakeCluster) -> None:
    del logged.logs["orders-eu-west-0"]
    ran = run("logs", "orders")
    assert ran.code == 0
    assert ran.out.count("orders-us-east-0") == 3
    assert "orders-eu-west-0: the log" in ran.err
    assert run("logs", "orders", "--previous").code == 1


def test_pods_that_are_no_replicas_are_shown_with_those_of_all_regions(run: Run, logged: FakeCluster) -> None:
    logged.other_pods = ["orders-archiver-1"]
    logged.logs["orders-archiver-1"] = "five\n"
    assert "orders-archiver-1  five" in run("logs", "orders").out
    assert "orders-archiver-1" not in run("logs", "orders", "--region=eu-west").out
