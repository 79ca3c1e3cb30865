"""The processes of a local cluster's pods, from outside: to stop, continue or kill them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path


def pids_of(data_dir: Path, pod_prefix: str) -> list[int]:
    """Processes of the cluster with that data directory, of pods whose names begin like that."""
    own = os.fsencode(data_dir) + b"/"
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            lines = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        variables = dict(line.split(b"=", 1) for line in lines if b"=" in line)
        of_cluster = variables.get(b"LOCALKUBE_DNS_FILE", b"").startswith(own)
        if of_cluster and variables.get(b"HOSTNAME", b"").startswith(pod_prefix.encode()):
            pids.append(int(entry.name))
    return pids


def signal_all(pids: Iterable[int], number: int) -> None:
    """The same signal to each of these processes that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def hanging(data_dir: Path, pod_prefix: str) -> Iterator[list[int]]:
    """The pods' processes stop where they are for as long as the block lasts: they give no answer, and do not end.

    Raises LookupError when there are none.
    """
    pids = pids_of(data_dir, pod_prefix)
    if not pids:
        raise LookupError(f"no process of {pod_prefix} in {data_dir}")
    signal_all(pids, signal.SIGSTOP)
    try:
        yield pids
    finally:
        signal_all(pids, signal.SIGCONT)
