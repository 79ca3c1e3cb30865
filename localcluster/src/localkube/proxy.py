"""ClusterIP Services: a TCP proxy at each service's own loopback address, in the place of kube-proxy."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from localkube.controllers.endpoints import is_included_ready, selects, services_of, serving, target_port
from localkube.controllers.engine import Context, Controller
from localkube.controllers.informer import Change
from localkube.controllers.objects import Key, is_deleting, meta
from localkube.controllers.resources import PODS, SERVICES, Obj

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 1024
CONNECT_SECONDS = 3.0
CHUNK_BYTES = 64 * 1024
RETRY_SECONDS = 2.0
COMPONENT = "service-proxy"


@dataclass(frozen=True)
class Frontend:
    """Where a service port listens."""

    host: str
    port: int


class PortProxy:
    """One service port: listens only while there is an endpoint, so that otherwise connections are refused."""

    def __init__(self, frontend: Frontend) -> None:
        self.frontend = frontend
        self.backends: tuple[tuple[str, int], ...] = ()
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def set_backends(self, backends: tuple[tuple[str, int], ...]) -> None:
        """Use these endpoints for new connections; raises OSError when it cannot listen."""
        self.backends = backends
        if backends and self._server is None:
            self._server = await asyncio.start_server(self._accept, self.frontend.host, self.frontend.port)
        elif not backends and self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            # A cancelled handler must end normally: the stream protocol reports anything else as an error.
            writer.transport.abort()
        finally:
            self._connections.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend = await self._connect()
        if backend is None:
            writer.transport.abort()
            return
        back_reader, back_writer = backend
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, back_writer))
                group.create_task(_copy(back_reader, writer))
        except* OSError:
            writer.transport.abort()
            back_writer.transport.abort()
        finally:
            for end in (writer, back_writer):
                end.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Returns a connection to the endpoint whose turn it is, None when that refuses it.

        As with kube-proxy no other one is tried: clients notice a pod that leaves its port before the endpoints.
        """
        backends = self.backends
        if not backends:
            return None
        host, port = backends[next(self._turn) % len(backends)]
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(host, port)
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, then pass the end on."""
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def frontends(service: Obj) -> dict[Frontend, dict[str, Any]]:
    """Returns where a Service should listen on this machine: its loopback ClusterIP, TCP ports."""
    cluster_ip = service["spec"].get("clusterIP") or "None"
    if cluster_ip == "None" or not ip_address(cluster_ip).is_loopback or is_deleting(service):
        return {}
    return {
        Frontend(cluster_ip, int(port["port"])): port
        for port in service["spec"].get("ports") or []
        if port.get("protocol", "TCP") == "TCP"
    }


def backends_of(service: Obj, port: dict[str, Any], pods: list[Obj]) -> tuple[tuple[str, int], ...]:
    """Returns the ready endpoints behind a service port."""
    result = []
    for pod in pods:
        if selects(service, pod) and serving(pod) and is_included_ready(service, pod):
            number = target_port(port, pod)
            if number is not None:
                result.append((pod["status"]["podIP"], number))
    return tuple(sorted(result))


class ServiceProxy(Controller):
    """Keeps a PortProxy for each port of each Service."""

    name = "service-proxy"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._proxies: dict[Key, dict[Frontend, PortProxy]] = {}
        self._reported: set[tuple[str, str]] = set()

    def setup(self) -> None:
        """Wake by services and by pods that they select."""
        self.watch_own(SERVICES)
        self.context.informers.of(PODS).subscribe(self._on_pod)

    def _on_pod(self, _change: Change, old: Obj | None, pod: Obj) -> None:
        for key in services_of(self.context, old, pod):
            self.enqueue(key)

    async def reconcile(self, key: Key) -> float | None:
        """Listen where one Service should, with its present endpoints."""
        service = self.context.informers.of(SERVICES).get(*key)
        wanted = frontends(service) if service is not None else {}
        proxies = self._proxies.setdefault(key, {})
        for frontend in [f for f in proxies if f not in wanted]:
            await proxies.pop(frontend).close()
        if service is None:
            self._proxies.pop(key, None)
            return None
        if service["spec"].get("type") in ("LoadBalancer", "NodePort"):
            self._warn(
                service,
                "Unsupported",
                f"type {service['spec']['type']} is served at its ClusterIP only by the local cluster",
            )
        pods = self.context.informers.of(PODS).items(key[0])
        again = None
        for frontend, port in wanted.items():
            proxy = proxies.setdefault(frontend, PortProxy(frontend))
            try:
                await proxy.set_backends(backends_of(service, port, pods))
            except OSError as error:
                self._warn(service, "FailedToListen", f"cannot listen at {frontend.host}:{frontend.port}: {error}")
                again = RETRY_SECONDS
        return again

    def _warn(self, service: Obj, reason: str, message: str) -> None:
        mark = (meta(service)["uid"], message)
        if mark not in self._reported:
            self._reported.add(mark)
            self.context.recorder.event(service, "Warning", reason, message, component=COMPONENT)

    async def stop(self) -> None:
        """Stop, and close every listener and connection."""
        await super().stop()
        for proxies in self._proxies.values():
            for proxy in proxies.values():
                await proxy.close()
        self._proxies.clear()
