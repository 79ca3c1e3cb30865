"""The operator's HTTP port: ``/livez`` answers 200 while the process runs, ``/healthz`` while its watches work, too;
``/metrics`` answers with the metrics."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from rstore_api.exposition import CONTENT_TYPE, Exposed, Exposition
from rstore_api.listening import listening_socket

SHUTDOWN_SECONDS = 1.0
BACKLOG = 128


class HealthServer:
    """Serves the three paths. ``problems`` returns why the operator is not healthy, and nothing while it is."""

    def __init__(self, host: str, port: int, problems: Callable[[], tuple[str, ...]], metrics: Exposed) -> None:
        self._host = host
        self._port = port
        self._problems = problems
        self._exposition = Exposition(metrics)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError if the port cannot be used."""
        app = web.Application()
        app.add_routes(
            [web.get("/livez", self._livez), web.get("/healthz", self._healthz), web.get("/metrics", self._scrape)]
        )
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, listening_socket(self._host, self._port, backlog=BACKLOG)).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.json_response({"problems": []})

    async def _healthz(self, _: web.Request) -> web.Response:
        problems = self._problems()
        return web.json_response({"problems": list(problems)}, status=503 if problems else 200)

    async def _scrape(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._exposition.text(), headers={"Content-Type": CONTENT_TYPE})
