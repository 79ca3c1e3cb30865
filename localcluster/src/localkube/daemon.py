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

from localkube.startup import STALLED_SECONDS, TOTAL_SECONDS, Patience, end_report, processor_seconds, reported_step

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
    wait_seconds: float = TOTAL_SECONDS,
    stalled_seconds: float = STALLED_SECONDS,
    end_with: int | None = None,
    nodes: Sequence[str] = (),
    images: Mapping[str, Sequence[str]] | None = None,
    address_variables: Sequence[str] = (),
    faults: bool = False,
    places: Mapping[str, str] | None = None,
) -> DaemonState:
    """Start a daemon and wait until its API is ready; returns at once when one runs already.

    `wait_seconds`: how long that may take, and `stalled_seconds`, how long without progress.
    `end_with`: a process with which the daemon ends.
    `nodes`: each as NAME=REGION; none for the default ones. `images`: base name of an image → its command.
    `address_variables`: environment variables that carry a pod's address. `faults`: links between places can be broken.
    `places`: name of a place beside the regions → the label of its pods, as LABEL=VALUE.
    Raises DaemonError with the end of its log when it does not get ready.
    """
    running = read_state(data_dir)
    if running is not None:
        return running
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    end_report(data_dir)
    log_path = data_dir / LOG_FILE
    with log_path.open("ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "localkube", "--data-dir", str(data_dir)),
                *(f"--node={n}" for n in nodes),
                *(f"--image={name}={shlex.join(command)}" for name, command in (images or {}).items()),
                *(f"--address-variable={name}" for name in address_variables),
                *(["--faults"] if faults else []),
                *([f"--end-with={end_with}"] if end_with is not None else []),
                *(f"--place={name}={label}" for name, label in (places or {}).items()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=data_dir,
        )
    patience = Patience(time.monotonic(), wait_seconds, stalled_seconds)
    while True:
        ended = process.poll() is not None
        state = read_state(data_dir)
        if state is not None:
            return state
        if ended:
            raise DaemonError(f"the cluster could not start\n{log_tail(data_dir)}")
        used_seconds = processor_seconds(process.pid)
        reason = patience.reason_to_give_up(reported_step(data_dir), used_seconds, time.monotonic())
        if reason is not None:
            process.kill()
            process.wait()
            raise DaemonError(f"{reason}\n{log_tail(data_dir)}")
        time.sleep(POLL_SECONDS)


def stop(data_dir: Path) -> bool:
    """Stop the daemon of a data directory; returns whether there was one. Its pods end with it."""
    state = read_state(data_dir)
    if state is None:
        return False

    def ended() -> bool:
        return started_ticks(state.pid) != state.started_ticks

    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, number)
        if _within(seconds, ended):
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


def _within(seconds: float, check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := check()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return done
