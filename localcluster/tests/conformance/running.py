"""A local cluster in the background, for as long as a block lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localkube import daemon


@contextmanager
def running_cluster(directory: Path) -> Iterator[Path]:
    """Starts a cluster with that data directory; yields the path of its kubeconfig, and stops it at the end."""
    state = daemon.start(directory, end_with=os.getpid())
    try:
        yield Path(state.kubeconfig)
    finally:
        daemon.stop(directory)
