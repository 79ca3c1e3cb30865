"""What a cluster that is starting waits for, and how long the program that started it waits for that."""

from __future__ import annotations

import os
from pathlib import Path

STEP_FILE = "starting"
LOADING = "its program to be loaded"
TOTAL_SECONDS = 300.0
STALLED_SECONDS = 60.0
WORK_SECONDS = 0.2


def report_step(data_dir: Path, step: str) -> None:
    """Writes what the starting cluster waits for, where :func:`reported_step` reads it."""
    fresh = data_dir / f"{STEP_FILE}.new"
    fresh.write_text(step)
    fresh.replace(data_dir / STEP_FILE)


def reported_step(data_dir: Path) -> str:
    """Returns what the cluster in this data directory waits for until it is ready."""
    try:
        return (data_dir / STEP_FILE).read_text()
    except FileNotFoundError:
        return LOADING


def end_report(data_dir: Path) -> None:
    """Removes what was reported: nothing is starting in this data directory."""
    (data_dir / STEP_FILE).unlink(missing_ok=True)


def processor_seconds(pid: int) -> float:
    """Returns how much processor time a process has used; 0 when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Patience:
    """Decides when to give up a cluster that is starting: it may take ``total_seconds``, ``stalled_seconds`` without
    progress. Progress is a new step, or WORK_SECONDS of processor time: on a busy machine the import of its modules
    alone may take minutes. ``now`` and ``began`` are times of one monotonic clock, in seconds."""

    def __init__(
        self, began: float, total_seconds: float = TOTAL_SECONDS, stalled_seconds: float = STALLED_SECONDS
    ) -> None:
        self._began = self._progress_at = began
        self._total_seconds = total_seconds
        self._stalled_seconds = stalled_seconds
        self._step = LOADING
        self._used_seconds = 0.0

    def reason_to_give_up(self, step: str, used_seconds: float, now: float) -> str | None:
        """Returns why waiting ends at ``now``, when the cluster waits for ``step`` and has used that much processor
        time; None while waiting goes on."""
        if step != self._step or used_seconds >= self._used_seconds + WORK_SECONDS:
            self._step, self._used_seconds, self._progress_at = step, used_seconds, now
        if now - self._began >= self._total_seconds:
            return f"the cluster did not get ready within {self._total_seconds:g} s: it waits for {step}"
        if now - self._progress_at >= self._stalled_seconds:
            return f"the start made no progress for {self._stalled_seconds:g} s: it waits for {step}"
        return None
