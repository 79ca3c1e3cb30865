"""The operator's process: what runs in it, and how it ends."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import os
import signal
import sys
import threading
import time
import uuid

import kopf
import rstore_api
from kopf._cogs.structs.references import Insights
from kopf._core.engines.peering import Identity
from rstore_api.dialling.channels import keep_running
from rstore_api.logs import configure, get_logger

from rstore_operator.handlers import STORES, Handlers, connect
from rstore_operator.health import HealthServer
from rstore_operator.leadership.elector import Elector
from rstore_operator.metrics import OperatorMetrics
from rstore_operator.resource.state import OperatorName
from rstore_operator.settings import Settings, parse_arguments
from rstore_operator.watching import NoMemories, watch_also

log = get_logger("rstore_operator")

TLS_BUFFER_BYTES = 16 << 10
"""What asyncio reads of a TLS connection at a time. It keeps a buffer of that size for each, by default 256 KiB, and
there are some 28 connections to the API server."""


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set, or SIGTERM or SIGINT comes.

    Raises what makes it impossible to start (no credentials, port in use).
    """
    keep_running()
    metrics = OperatorMetrics(rstore_api.__version__, time.monotonic)
    client, namespace = await connect(metrics.requested)
    lease_client, _ = await connect(metrics.requested)  # of its own: the Lease does not wait for requests of stores
    name = OperatorName(namespace, settings.lease_name)
    registry = kopf.OperatorRegistry()
    insights = Insights()
    elector = Elector(lease_client, name, new_identity())
    handlers = Handlers(
        client,
        settings.image,
        hash_check_seconds=settings.hash_check_seconds,
        concurrent_rollouts=settings.concurrent_rollouts,
        certificates=settings.certificates,
        operator_pods=settings.operator_pods,
        metrics=metrics,
        operator=name,
        may_act=elector.acts,
    )
    handlers.register(registry)
    restore = handlers.watches.install()
    log.info("starting", namespaces=list(settings.namespaces) or "all", replica_image=settings.image.image)

    def problems() -> tuple[str, ...]:
        return (*handlers.watches.problems(), *elector.problems())

    health = HealthServer(settings.listen_host, settings.health_port, problems, metrics)
    late_kind: asyncio.Task[None] | None = None
    leading: asyncio.Task[None] | None = None
    try:
        await health.start()
        leading = asyncio.create_task(lead(elector, handlers, stop))
        late_kind = asyncio.create_task(watch_also(insights, STORES))
        others = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry,
            standalone=True,
            identity=identity(),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            insights=insights,
            memories=NoMemories(),
            stop_flag=stop,
        )
        # kopf has just taken the signals for itself; were it to get one, it would wait 5 s for a flag that nobody sets.
        if threading.current_thread() is threading.main_thread():
            stop_on_signals(stop)
        await kopf.run_tasks(tasks, ignored=others)
    finally:
        restore()
        stop.set()
        if leading is not None:
            await asyncio.gather(leading, return_exceptions=True)
        if late_kind is not None:
            late_kind.cancel()
        await health.close()
        await client.close()
        await lease_client.close()
        log.info("stopped")


async def lead(elector: Elector, handlers: Handlers, stop: asyncio.Event) -> None:
    """Hold the Lease, or wait for it, until ``stop`` is set; then end what is being done and give it up."""
    holding = asyncio.create_task(elector.run(began=handlers.begin, stopped=handlers.suspend))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({holding, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await handlers.close()
    finally:
        for task in (holding, stopping):
            task.cancel()
        failed = (await asyncio.gather(holding, stopping, return_exceptions=True))[0]
    if isinstance(failed, Exception):
        stop.set()
        raise failed
    await elector.release()


def new_identity() -> str:
    """Returns who this process is among the candidates: the pod, and a suffix, for its container may be restarted."""
    return f"{os.environ.get('HOSTNAME') or 'rstore-operator'}_{uuid.uuid4().hex[:8]}"


def identity() -> Identity:
    """Who we are in kopf's eyes: the pod. Left to itself kopf asks for the user's name, and a container's has none."""
    return Identity(os.environ.get("HOSTNAME") or "rstore-operator")


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT set ``stop``."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    await run(settings, stop)


def main() -> None:
    """Entry point."""
    settings = parse_arguments(sys.argv[1:])
    configure(settings.log_level)
    asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    asyncio.run(_main(settings))
