"""Stock PySyncObj under the same load, without an API: three processes on loopback, commands proposed in the leader.

``python -m bench.stock_pysyncobj OWN,PEER,PEER JOURNAL`` runs a member. The member that leads reads lines
``<bytes per command> <commands under way> <warm-up seconds> <seconds>`` and answers each with JSON; another one
answers ``null``. Nothing is synced to disk, as PySyncObj never does that. It ends with its stdin. All settings are the
defaults but for ``appendEntriesUseBatch``, with which a commit would take 100 ms.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from integration.replicas.server_processes import free_loopback_address
from pysyncobj import SyncObj, SyncObjConf, replicated

PORT = 2380


class Register(SyncObj):  # type: ignore[misc]
    """Keeps the last command."""

    def __init__(self, own: str, others: list[str], journal: str) -> None:
        super().__init__(own, others, SyncObjConf(bindAddress=own, journalFile=journal, appendEntriesUseBatch=False))
        self._last = b""

    @replicated  # type: ignore[untyped-decorator]
    def put(self, command: bytes) -> int:
        """One command."""
        self._last = command
        return len(command)


def member(addresses: list[str], journal: str) -> None:
    """A member's process."""
    register = Register(addresses[0], addresses[1:], journal)
    for line in sys.stdin:
        size, outstanding, warmup, seconds = line.split()
        answer = None
        if register._isLeader():
            measure(register, int(size), int(outstanding), float(warmup))
            answer = measure(register, int(size), int(outstanding), float(seconds))
        print(json.dumps(answer), flush=True)


def measure(register: Register, size: int, outstanding: int, seconds: float) -> dict[str, float]:
    """Calls per second and their median latency."""
    command = b"x" * size
    latencies: list[float] = []
    idle = threading.Event()
    under_way = outstanding
    began = time.perf_counter()
    until = began + seconds

    def propose() -> None:
        started = time.perf_counter()

        def done(_result: Any, error: int) -> None:
            nonlocal under_way
            now = time.perf_counter()
            if error == 0:
                latencies.append(now - started)
            if error == 0 and now < until:
                propose()
                return
            under_way -= 1
            if under_way == 0:
                idle.set()

        register.put(command, callback=done)

    for _ in range(outstanding):
        propose()
    if not idle.wait(seconds + 10) or not latencies:
        raise SystemExit("PySyncObj did not answer")
    elapsed = time.perf_counter() - began
    return {"calls_per_second": len(latencies) / elapsed, "median_ms": median(latencies) * 1e3}


class Members:
    """The three processes, from outside."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def measure(self, size: int, outstanding: int, warmup: float, seconds: float) -> dict[str, float]:
        """See :func:`measure`; asks each until the leader has answered."""
        for _ in range(100):
            for process in self._processes:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(f"{size} {outstanding} {warmup} {seconds}\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    raise RuntimeError("a member of PySyncObj ended")
                found: dict[str, float] | None = json.loads(answer)
                if found is not None:
                    return found
            time.sleep(0.1)
        raise RuntimeError("PySyncObj has no leader")


@contextmanager
def running(directory: Path) -> Iterator[Members]:
    """Three members; none outlives the block."""
    hosts = [f"{free_loopback_address()}:{PORT}" for _ in range(3)]
    directory.mkdir(parents=True)
    processes: list[subprocess.Popen[str]] = []
    try:
        for at, own in enumerate(hosts):
            addresses = [own, *(other for other in hosts if other != own)]
            with (directory / f"log-{at}").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "bench.stock_pysyncobj", ",".join(addresses), str(directory / f"j{at}")],
                        cwd=Path(__file__).resolve().parent.parent,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                    )
                )
        yield Members(processes)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


if __name__ == "__main__":
    member(sys.argv[1].split(","), sys.argv[2])
