"""The cluster in the foreground, as the daemon runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator

from localkube.cluster import Cluster, ClusterOptions
from localkube.daemon import STATE_FILE, DaemonState, started_ticks, write_state
from localkube.startup import end_report, report_step

log = logging.getLogger(__name__)


async def serve(options: ClusterOptions, *, end_with: int | None = None) -> None:
    """Run a cluster until SIGTERM or SIGINT, or until the process ``end_with`` has ended.

    The state file exists from when it is ready until all has ended. Before, what it waits for is reported for the
    program that started it.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    written = False

    def began(step: str) -> None:
        log.info("starting: %s", step)
        report_step(options.data_dir, step)

    try:
        with _ending_with(end_with, stop):
            async with Cluster(options, began) as cluster:
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
        end_report(options.data_dir)
        if written:  # else the file may be that of another daemon, because of which this one could not start
            (options.data_dir / STATE_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def _ending_with(pid: int | None, stop: asyncio.Event) -> Iterator[None]:
    """Sets ``stop`` as soon as the process ``pid`` has ended, while the block runs."""
    if pid is None:
        yield
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        log.info("process %d, with which this cluster ends, has ended already", pid)
        stop.set()
        yield
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(handle)
        log.info("process %d, with which this cluster ends, has ended", pid)
        stop.set()

    loop.add_reader(handle, ended)
    try:
        yield
    finally:
        loop.remove_reader(handle)
        os.close(handle)
