"""The cluster as a background process: its state file, starting and stopping it. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

STATE_FILE = "daemon.json"
LOG_FILE = "daemon.log"
POLL_SECONDS = 0.1
STOP_SECONDS = 30.0
LOG_TAIL_LINES = 20


class DaemonError(Exception):
    """Starting or stopping failed; the message says what to look at."""


@dataclass(frozen=True)
class DaemonState:
    """What a running daemon leaves in its data directory. `started_ticks` tells its pid from one used again."""

    pid: int
    started_ticks: int
    url: str
    kubeconfig: str
    service_cidr: str


def default_data_dir(name: str) -> Path:
    """`${XDG_STATE_HOME:-~/.local/state}/localkube/<name>`."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "localkube" / name


def read_state(data_dir: Path) -> DaemonState | None:
    """Returns the state of the daemon that runs with this data directory, None when none does."""
    try:
        state = DaemonState(**json.loads((data_dir / STATE_FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return state if started_ticks(state.pid) == state.started_ticks else None


def write_state(data_dir: Path, state: DaemonState) -> None:
    """Say that the daemon is ready."""
    fresh = data_dir / f"{STATE_FILE}.new"
    fresh.write_text(json.dumps(asdict(state)))
    fresh.replace(data_dir / STATE_FILE)


def started_ticks(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None when there is no such process, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def start(
    data_dir: Path,
    *,
    wait_seconds: float,
    nodes: Sequence[str] = (),
    images: Mapping[str, Sequence[str]] | None = None,
    address_variables: Sequence[str] = (),
    faults: bool = False,
    places: Mapping[str, str] | None = None,
) -> DaemonState:
    """Start a daemon and wait until its API is ready; returns at once when one runs already.

    `nodes`: each as NAME=REGION; none for the default ones. `images`: base name of an image → its command.
    `address_variables`: environment variables that carry a pod's address. `faults`: links between places can be broken.
    `places`: name of a place beside the regions → the label of its pods, as LABEL=VALUE.
    Raises DaemonError with the end of its log when it does not get ready.
    """
    running = read_state(data_dir)
    if running is not None:
        return running
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path = data_dir / LOG_FILE
    with log_path.open("ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "localkube", "--data-dir", str(data_dir)),
                *(f"--node={n}" for n in nodes),
                *(f"--image={name}={shlex.join(command)}" for name, command in (images or {}).items()),
                *(f"--address-variable={name}" for name in address_variables),
                *(["--faults"] if faults else []),
                *(f"--place={name}={label}" for name, label in (places or {}).items()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=data_dir,
        )
    state = _poll(lambda: read_state(data_dir), wait_seconds, lambda: process.poll() is not None)
    if state is None:
        if process.poll() is not None:
            raise DaemonError(f"the cluster could not start\n{log_tail(data_dir)}")
        process.kill()
        process.wait()
        raise DaemonError(f"the cluster did not get ready within {wait_seconds:g} s\n{log_tail(data_dir)}")
    return state


def stop(data_dir: Path) -> bool:
    """Stop the daemon of a data directory; returns whether there was one. Its pods end with it."""
    state = read_state(data_dir)
    if state is None:
        return False

    def ended() -> bool | None:
        return True if started_ticks(state.pid) != state.started_ticks else None

    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, number)
        if _poll(ended, seconds, lambda: False):
            (data_dir / STATE_FILE).unlink(missing_ok=True)
            return True
    raise DaemonError(f"process {state.pid} did not end")


def log_tail(data_dir: Path) -> str:
    """Returns the last lines the daemon logged."""
    try:
        lines = (data_dir / LOG_FILE).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join([f"{data_dir / LOG_FILE}:", *lines[-LOG_TAIL_LINES:]])


def _poll(check: Callable[[], T | None], seconds: float, give_up: Callable[[], bool]) -> T | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        last_chance = give_up()
        value = check()
        if value is not None or last_chance:
            return value
        time.sleep(POLL_SECONDS)
    return None
