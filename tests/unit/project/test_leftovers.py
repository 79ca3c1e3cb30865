"""The check at the end of a run finds what the run started and did not end, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import leftovers
import pytest

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.mark.parametrize("how", ["environment", "arguments", "working directory"])
def test_a_process_of_the_run_is_found_and_killed(how: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*SLEEP, str(tmp_path)] if how == "arguments" else SLEEP,
        env={**os.environ, "MARK": str(tmp_path)} if how == "environment" else None,
        cwd=tmp_path if how == "working directory" else None,
    ) as process:
        deadline = time.monotonic() + 60
        while not (found := leftovers.processes_of(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.01)  # between fork and exec it has neither arguments nor environment of its own
        leftovers.kill(found)
        assert [item.pid for item in found] == [process.pid]
        assert "time.sleep" in found[0].command
        assert process.wait(timeout=10) == -9
    assert leftovers.wait_none(tmp_path, timeout_seconds=10) == []


def test_processes_of_others_and_ones_own_are_not(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP) as process:
        assert leftovers.processes_of(tmp_path) == []
        process.kill()
