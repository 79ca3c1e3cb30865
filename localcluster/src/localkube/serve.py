"""The cluster in the foreground, as the daemon runs it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from localkube.cluster import Cluster, ClusterOptions
from localkube.daemon import STATE_FILE, DaemonState, started_ticks, write_state

log = logging.getLogger(__name__)


async def serve(options: ClusterOptions) -> None:
    """Run a cluster until SIGTERM or SIGINT; the state file exists from when it is ready until all has ended."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    written = False
    try:
        async with Cluster(options) as cluster:
            state = DaemonState(
                pid=os.getpid(),
                started_ticks=started_ticks(os.getpid()) or 0,
                url=cluster.url,
                kubeconfig=str(cluster.kubeconfig_path),
                service_cidr=cluster.service_cidr,
            )
            write_state(options.data_dir, state)
            written = True
            log.info("ready url=%s", cluster.url)
            await stop.wait()
            log.info("stopping")
    finally:
        if written:  # else the file may be that of another daemon, because of which this one could not start
            (options.data_dir / STATE_FILE).unlink(missing_ok=True)
