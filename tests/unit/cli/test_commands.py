"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

from unit.cli.conftest import Run

HEAVY = ("localkube", "celpy", "kopf", "aiohttp.web", "pytest")


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
