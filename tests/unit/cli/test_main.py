"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rstore_cli.cluster import Target
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster

HEAVY = ("kubernetes", "localkube", "celpy", "kopf", "aiohttp.web", "pytest")


def test_every_command_is_in_the_help(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    for command in ("status", "failover", "put", "get", "del", "verify", "certs", "dev"):
        assert f" {command} " in ran.out


def test_no_command_shows_the_help_and_is_a_usage_error(run: Run) -> None:
    ran = run()
    assert ran.code == 2
    assert "Usage: rstore" in ran.out + ran.err


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    ran = run("frobnicate")
    assert ran.code == 2
    assert "frobnicate" in ran.err


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("--version").out.startswith("rstore 0.")


def test_ordinary_commands_do_not_load_the_local_cluster() -> None:
    script = f"import sys, rstore_cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("store", ["orders", "nothing"])
def test_connections_are_closed_however_a_command_ends(run: Run, cluster: FakeCluster, store: str) -> None:
    assert run("status", store).code == (store != "orders")
    assert cluster.closed == 1


def test_the_options_that_name_a_cluster_are_those_of_kubectl(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    targets: list[Target] = []

    def connect(target: Target) -> FakeCluster:
        targets.append(target)
        return FakeCluster()

    monkeypatch.setattr("rstore_cli.commands.Cluster", connect)
    run("status", "orders", "-n", "team", "--kubeconfig", str(tmp_path), "--context", "there")
    run("status", "orders")
    assert targets == [Target(tmp_path, "there", "team"), Target()]
