"""A local cluster whose pods' wall clocks can be made to jump: ``python cluster.py DIRECTORY PID`` runs it as long as
that process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localkube import daemon
from localkube.cluster import ClusterOptions
from localkube.serve import serve
from localkube.startup import Patience, processor_seconds, reported_step
from rstore_cli.dev.app import ADDRESS_VARIABLES, IMAGES, PLACES

OFFSETS_FILE = "clocks.json"
RUN = Path(__file__).with_name("run.py")
TAKE_SECONDS = 60.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Clocks:
    """Sets the clocks of the pods of one such cluster."""

    data_dir: Path

    def set(self, seconds: Mapping[str, int], pods: list[str]) -> None:
        """Sets pods whose names begin with a prefix that many seconds ahead from now on, all others right.

        Returns when ``pods`` all have taken that. Raises TimeoutError when one does not.
        """
        version, path = uuid.uuid4().hex, self.data_dir / OFFSETS_FILE
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"version": version, "seconds": dict(seconds)}))
        fresh.replace(path)
        deadline = time.monotonic() + TAKE_SECONDS
        while behind := [pod for pod in pods if self._taken_by(pod) != version]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the clocks of {behind} do not jump")
            time.sleep(POLL_SECONDS)

    def _taken_by(self, pod: str) -> str:
        try:
            return (self.data_dir / f"{OFFSETS_FILE}.{pod}").read_text()
        except FileNotFoundError:
            return ""


@contextmanager
def cluster_with_clocks(directory: Path) -> Iterator[Clocks]:
    """Runs the cluster around a block; its kubeconfig is in the directory."""
    directory.mkdir(parents=True)
    with (directory / "cluster.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, __file__, str(directory), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=directory,
        )
    try:
        patience = Patience(time.monotonic())
        while daemon.read_state(directory) is None:
            reason = patience.reason_to_give_up(
                reported_step(directory), processor_seconds(process.pid), time.monotonic()
            )
            if reason or process.poll() is not None:
                raise RuntimeError(f"{reason or 'it ended'}: {(directory / 'cluster.log').read_text()[-4000:]}")
            time.sleep(POLL_SECONDS)
        yield Clocks(directory)
    finally:
        process.terminate()
        process.wait(timeout=60)


def main() -> None:
    """Runs the cluster until SIGTERM."""
    directory, end_with = Path(sys.argv[1]), int(sys.argv[2])
    images = {
        name: (sys.executable, str(RUN), str(directory / OFFSETS_FILE), program[-1]) for name, program in IMAGES.items()
    }
    options = ClusterOptions(
        data_dir=directory, images=images, address_variables=ADDRESS_VARIABLES, faults=True, places=PLACES
    )
    asyncio.run(serve(options, end_with=end_with))


if __name__ == "__main__":
    main()
