"""A local cluster in the background, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localkube import daemon

START_SECONDS = 60.0


@contextmanager
def running_cluster(directory: Path) -> Iterator[Path]:
    """Starts a cluster with that data directory; yields the path of its kubeconfig, and stops it at the end."""
    state = daemon.start(directory, wait_seconds=START_SECONDS)
    try:
        yield Path(state.kubeconfig)
    finally:
        daemon.stop(directory)
