"""``python -m rstore_operator``: the operator's process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import kopf
import structlog
from kopf._core.engines.peering import Identity

from rstore_operator.handlers import Handlers
from rstore_operator.k8s import Kubernetes
from rstore_operator.log import configure_logging
from rstore_operator.settings import Settings, parse_arguments

log = structlog.get_logger("rstore_operator")


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set. Raises what makes it impossible to start (no credentials, port in use)."""
    api = await Kubernetes.connect()
    registry = kopf.OperatorRegistry()
    Handlers(lambda: api, settings.image).register(registry)
    log.info("starting", namespaces=list(settings.namespaces) or "all", replica_image=settings.image.image)
    host = f"[{settings.listen_host}]" if ":" in settings.listen_host else settings.listen_host
    try:
        await kopf.operator(
            registry=registry,
            standalone=True,
            identity=identity(),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            liveness_endpoint=f"http://{host}:{settings.health_port}/healthz",
            stop_flag=stop,
        )
    finally:
        await api.close()
        log.info("stopped")


def identity() -> Identity:
    """Who we are in kopf's eyes: the pod. Left to itself kopf asks for the user's name, and a container's has none."""
    return Identity(os.environ.get("HOSTNAME") or "rstore-operator")


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)


def main() -> None:
    """Entry point."""
    settings = parse_arguments(sys.argv[1:])
    configure_logging(settings.log_level)
    asyncio.run(_main(settings))


if __name__ == "__main__":
    main()
