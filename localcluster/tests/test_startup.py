"""How long a starting cluster is waited for, and that it ends with the process that it was started for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from localkube.daemon import DaemonError, read_state, start, started_ticks, stop
from localkube.startup import (
    LOADING,
    WORK_SECONDS,
    Patience,
    end_report,
    processor_seconds,
    report_step,
    reported_step,
)


def test_each_new_step_is_waited_for_anew_but_all_of_them_have_an_end() -> None:
    patience = Patience(100.0, total_seconds=30, stalled_seconds=10)
    assert patience.reason_to_give_up(LOADING, 0.0, 109.9) is None
    assert patience.reason_to_give_up("a", 0.0, 109.95) is None
    assert patience.reason_to_give_up("a", 0.0, 119.9) is None
    assert patience.reason_to_give_up("b", 0.0, 119.95) is None
    assert patience.reason_to_give_up("b", 0.0, 129.9) is None
    assert patience.reason_to_give_up("c", 0.0, 130.0) == "the cluster did not get ready within 30 s: it waits for c"


def test_a_start_that_gets_little_of_the_processor_makes_progress() -> None:
    patience = Patience(100.0, total_seconds=300, stalled_seconds=10)
    assert patience.reason_to_give_up(LOADING, WORK_SECONDS, 109.0) is None
    assert patience.reason_to_give_up(LOADING, 2 * WORK_SECONDS, 118.0) is None
    assert patience.reason_to_give_up(LOADING, 2.9 * WORK_SECONDS, 127.0) is None
    assert "no progress for 10 s" in (patience.reason_to_give_up(LOADING, 2.9 * WORK_SECONDS, 128.0) or "")


def test_the_processor_time_of_a_process_grows_with_its_work() -> None:
    before = processor_seconds(os.getpid())
    while processor_seconds(os.getpid()) < before + 0.05:
        sum(range(10_000))
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert processor_seconds(process.pid) == 0.0


@pytest.mark.parametrize("step", [LOADING, "the API server"])
def test_a_start_without_progress_is_given_up(step: str) -> None:
    patience = Patience(100.0, total_seconds=300, stalled_seconds=10)
    assert patience.reason_to_give_up(step, 0.1, 100.0) is None
    assert patience.reason_to_give_up(step, 0.1, 110.0) == f"the start made no progress for 10 s: it waits for {step}"


def test_the_step_is_read_as_it_was_reported(tmp_path: Path) -> None:
    assert reported_step(tmp_path) == LOADING
    report_step(tmp_path, "the API server")
    assert reported_step(tmp_path) == "the API server"
    end_report(tmp_path)
    assert reported_step(tmp_path) == LOADING
    end_report(tmp_path)


def test_a_start_that_was_given_up_says_what_it_waited_for_and_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match=f"no progress for 0.001 s: it waits for {LOADING}"):
        start(tmp_path / "cluster", stalled_seconds=0.001)
    assert read_state(tmp_path / "cluster") is None


def test_a_cluster_ends_with_the_process_that_it_was_started_for(tmp_path: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        state = start(tmp_path / "cluster", end_with=starter.pid)
        assert started_ticks(state.pid) == state.started_ticks
    finally:
        starter.kill()
        starter.wait()
    deadline = time.monotonic() + 60
    while started_ticks(state.pid) == state.started_ticks:
        assert time.monotonic() < deadline, "the cluster goes on without its starter"
        time.sleep(0.05)
    assert read_state(tmp_path / "cluster") is None
    assert not stop(tmp_path / "cluster")
