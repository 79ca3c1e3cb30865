"""The Makefile and the CI script offer what the documentation promises."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROMISED = {"help", "setup", "demo", "test", "check", "generate", "bench", "clean"}


def make(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def bare_project(tmp_path: Path) -> Path:
    """A checkout with nothing but what setting up reads."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "locks", tmp_path / "locks")
    return tmp_path


def test_help_is_the_default_and_lists_every_target() -> None:
    shown = make()
    assert shown.returncode == 0
    listed = set(re.findall(r"^  ([a-z0-9]+) ", shown.stdout, re.MULTILINE))
    assert listed >= PROMISED
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared is not None
    assert listed == set(declared.group(1).split())


def test_setup_without_a_new_enough_python_says_what_to_do(bare_project: Path) -> None:
    old = bare_project / "old-python"
    old.write_text('#!/bin/sh\ncase "$*" in *-V*) echo "Python 3.9.1";; *) exit 1;; esac\n')
    old.chmod(0o755)
    refused = make("setup", f"PYTHON={old}", cwd=bare_project)
    assert refused.returncode != 0
    assert "Python 3.11 or newer is needed" in refused.stderr
    assert "Python 3.9.1" in refused.stderr
    assert not (bare_project / ".venv").exists()


def test_setup_without_any_python_says_so(bare_project: Path) -> None:
    refused = make("setup", "PYTHON=", cwd=bare_project)
    assert refused.returncode != 0
    assert "no Python 3.11 or newer found" in refused.stderr


def test_setup_that_cannot_make_a_venv_leaves_nothing_half_made(bare_project: Path) -> None:
    odd = bare_project / "odd-python"
    odd.write_text('#!/bin/sh\ncase "$1" in -c) exit 0;; -V) echo "Python 3.11.0";; *) mkdir -p .venv; exit 1;; esac\n')
    odd.chmod(0o755)
    refused = make("setup", f"PYTHON={odd}", cwd=bare_project)
    assert refused.returncode != 0
    assert "python3-venv" in refused.stderr
    assert not (bare_project / ".venv").exists()


def test_setup_installs_again_only_when_the_dependencies_changed(bare_project: Path) -> None:
    """With stand-ins for Python and pip that count what they are asked for."""
    calls = bare_project / "calls"
    fake = bare_project / "fake-python"
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> {calls}\n'
        f'case "$2" in venv) mkdir -p "$3/bin" && cp {fake} "$3/bin/python";; esac\n'
        'case "$1" in -V) echo "Python 3.11.0";; esac\n'
    )
    fake.chmod(0o755)

    def installs() -> int:
        return calls.read_text().count("--editable .[dev]")

    assert make("setup", f"PYTHON={fake}", cwd=bare_project).returncode == 0
    assert make("setup", f"PYTHON={fake}", cwd=bare_project).returncode == 0
    assert installs() == 1
    locked = (bare_project / ".venv" / "locked.txt").read_text().splitlines()
    assert any(line.startswith("kopf==") for line in locked)
    assert all(re.fullmatch(r"[a-z0-9._-]+==[^ ]+", line) for line in locked), "what pip takes as constraints"
    with (bare_project / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert make("setup", f"PYTHON={fake}", cwd=bare_project).returncode == 0
    assert installs() == 2


def test_a_failed_install_fails_setup_and_is_tried_again(bare_project: Path) -> None:
    fake = bare_project / "fake-python"
    fake.write_text(
        "#!/bin/sh\n"
        f'case "$2" in venv) mkdir -p "$3/bin" && cp {fake} "$3/bin/python";; esac\n'
        'case "$*" in *"--editable .[dev]"*) echo "no such package"; exit 1;; -V) echo "Python 3.11.0";; esac\n'
    )
    fake.chmod(0o755)
    for _ in range(2):
        refused = make("setup", f"PYTHON={fake}", cwd=bare_project)
        assert refused.returncode != 0
        assert "no such package" in refused.stderr
        assert "pip could not install" in refused.stderr


def test_ci_checks_then_tests_beside_a_newer_etcd_then_fuzzes() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    made = [line.split(" || ")[0] for line in lines if line.startswith("make ")]
    assert made == ["make check", "make etcd", "make test", "make fuzz"]


def test_bench_says_which_benchmarks_there_are_or_that_there_are_none() -> None:
    script = ROOT / "scripts" / "bench.py"
    done = subprocess.run(
        [sys.executable, str(script), "no-such-benchmark"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in (1, 2)
    assert "bench:" in done.stderr
