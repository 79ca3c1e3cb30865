"""What a test run leaves behind: processes that still run. Found by the run's own temporary directory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process that belongs to a run."""

    pid: int
    command: str


def processes_of(directory: Path) -> list[Process]:
    """Returns every other process that names the directory in its environment or arguments, or works in it; no zombies.

    The caller and its ancestors do not count. Empty where there is no /proc.
    """
    wanted = os.fsencode(directory)
    ignored = _ancestors(os.getpid())
    found = []
    for entry in PROC.glob("[0-9]*"):
        pid = int(entry.name)
        if pid in ignored:
            continue
        try:
            arguments = (entry / "cmdline").read_bytes()
            if not arguments:
                continue  # a zombie, or the kernel's own
            places = (arguments, (entry / "environ").read_bytes(), os.fsencode(os.readlink(entry / "cwd")))
        except OSError:
            continue  # ended meanwhile, or somebody else's
        if any(wanted in place for place in places):
            found.append(Process(pid, os.fsdecode(arguments.replace(b"\0", b" ")).strip()))
    return sorted(found, key=lambda process: process.pid)


def wait_none(directory: Path, *, timeout_seconds: float) -> list[Process]:
    """Waits until no process of the run is left; returns those that are left when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while (found := processes_of(directory)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def kill(processes: Iterable[Process]) -> None:
    """Kills the processes, by pid."""
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _ancestors(pid: int) -> set[int]:
    found = set()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            pid = int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found
