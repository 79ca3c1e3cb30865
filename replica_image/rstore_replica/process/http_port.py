"""The HTTP port: liveness, readiness, metrics. Plain text, no secrets, nothing that changes anything."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from rstore_api.listening import listening_socket

from rstore_replica.metrics import CONTENT_TYPE, Metrics

BACKLOG = 128


class HttpServer:
    """/healthz, /readyz and /metrics on one address."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        metrics: Metrics,
        not_ready_reason: Callable[[], str],
        not_alive_reason: Callable[[], str],
    ) -> None:
        """The reasons are "" when all is well."""
        self._host = host
        self._port = port
        self._metrics = metrics
        self._not_ready_reason = not_ready_reason
        self._not_alive_reason = not_alive_reason
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        app = web.Application()
        app.add_routes(
            [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), web.get("/metrics", self._scrape)]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        listener = listening_socket(self._host, self._port, backlog=BACKLOG)
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _verdict(self._not_alive_reason())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._not_ready_reason())

    async def _scrape(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})


def _verdict(reason: str) -> web.Response:
    return web.Response(status=503 if reason else 200, text=f"{reason or 'ok'}\n")
