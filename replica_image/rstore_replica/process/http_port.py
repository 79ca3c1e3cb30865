"""The HTTP port: liveness, readiness, metrics. Plain text, no secrets, nothing that changes anything.

Everybody who reaches the pod's address may connect, without a certificate. So what a caller can take is bounded: a
scrape costs the event loop next to nothing, connections are few and last for seconds, and there is always room for a
new one, such as the kubelet's probe.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from rstore_api.exposition import CONTENT_TYPE, Exposition
from rstore_api.listening import listening_socket
from rstore_api.logs import get_logger

_log = get_logger(__name__)

BACKLOG = 128
MAX_CONNECTIONS = 64
MAX_CONNECTIONS_PER_ADDRESS = 16
CONNECTION_SECONDS = 10.0
"""How long a connection may take, from its beginning until all of the answer has been read."""
SWEEP_SECONDS = 1.0
ACCEPT_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class _Connection:
    address: str
    began: float
    transport: asyncio.Transport
    handler: asyncio.BaseProtocol

    @property
    def ended(self) -> bool:
        """Whether it is closed and all of the answer has left; aiohttp's handlers forget their transport then."""
        return getattr(self.handler, "transport", None) is None


class HttpServer:
    """/healthz, /readyz and /metrics on one address, one request to a connection."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        exposition: Exposition,
        not_ready_reason: Callable[[], str],
        not_alive_reason: Callable[[], str],
    ) -> None:
        """The reasons are "" when all is well."""
        self._host = host
        self._port = port
        self._exposition = exposition
        self._not_ready_reason = not_ready_reason
        self._not_alive_reason = not_alive_reason
        self._runner: web.AppRunner | None = None
        self._listener: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._connections: list[_Connection] = []

    async def start(self) -> None:
        """Listens. Raises OSError when the address is taken."""
        app = web.Application()
        app.add_routes(
            [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), web.get("/metrics", self._scrape)]
        )
        app.on_response_prepare.append(_close_afterwards)
        self._listener = listening_socket(self._host, self._port, backlog=BACKLOG)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        self._tasks = [asyncio.create_task(self._accept(self._listener)), asyncio.create_task(self._sweep())]

    async def stop(self) -> None:
        """Closes the port and every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # ------------------------------------------------------------------ connections

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        assert self._runner is not None
        serve = self._runner.server
        assert serve is not None
        while True:
            try:
                accepted, peer = await loop.sock_accept(listener)
            except OSError as error:  # too many open files: better later than never
                _log.warning("http_accept_failed", reason=str(error))
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            self._make_room(str(peer[0]))
            try:
                transport, handler = await loop.connect_accepted_socket(serve, accepted)
            except OSError:  # the caller has gone already
                accepted.close()
            else:
                self._connections.append(_Connection(str(peer[0]), loop.time(), transport, handler))

    def _make_room(self, address: str) -> None:
        """Ends the oldest connection of a caller that has too many, or of the one that has most of all."""
        self._connections = [connection for connection in self._connections if not connection.ended]
        counts = Counter(connection.address for connection in self._connections)
        if counts[address] >= MAX_CONNECTIONS_PER_ADDRESS:
            greediest = address
        elif len(self._connections) >= MAX_CONNECTIONS:
            greediest = counts.most_common(1)[0][0]
        else:
            return
        oldest = next(connection for connection in self._connections if connection.address == greediest)
        self._connections.remove(oldest)
        oldest.transport.abort()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._connections = [connection for connection in self._connections if not connection.ended]
            for connection in self._connections:
                if loop.time() - connection.began > CONNECTION_SECONDS:
                    connection.transport.abort()

    # ------------------------------------------------------------------ answers

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _verdict(self._not_alive_reason())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._not_ready_reason())

    async def _scrape(self, _request: web.Request) -> web.Response:
        return web.Response(body=await self._exposition.text(), headers={"Content-Type": CONTENT_TYPE})


async def _close_afterwards(_request: web.Request, response: web.StreamResponse) -> None:
    response.force_close()


def _verdict(reason: str) -> web.Response:
    return web.Response(status=503 if reason else 200, text=f"{reason or 'ok'}\n")
