"""The HTTP port of an archiver or a restorer: ``/healthz``, ``/readyz``, ``/status`` (:mod:`rstore_backup.report`,
:mod:`rstore_backup.restore_report`) and ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web
from rstore_api.exposition import CONTENT_TYPE, Exposed, Exposition
from rstore_api.listening import listening_socket

from rstore_backup.report import PATH

SHUTDOWN_SECONDS = 1.0
BACKLOG = 64
KEEP_ALIVE_SECONDS = 15.0


class HttpPort:
    """Answers while it is started."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        status: Callable[[Mapping[str, str]], bytes],
        not_ready: Callable[[], str],
        metrics: Exposed,
    ) -> None:
        """``status`` returns the report, for the parameters of the request; ``not_ready`` why it is not ready, "" when
        it is."""
        self._host = host
        self._port = port
        self._report = status
        self._not_ready = not_ready
        self._exposition = Exposition(metrics)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listens. Raises OSError when the address is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get(PATH, self._status),
                web.get("/metrics", self._scrape),
            ]
        )
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECONDS,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listening_socket(self._host, self._port, backlog=BACKLOG)).start()

    async def stop(self) -> None:
        """Closes the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        why = self._not_ready()
        return web.Response(status=503, text=f"{why}\n") if why else web.Response(text="ok\n")

    async def _status(self, request: web.Request) -> web.Response:
        return web.Response(body=self._report(request.query), content_type="application/json")

    async def _scrape(self, _request: web.Request) -> web.Response:
        return web.Response(body=await self._exposition.text(), headers={"Content-Type": CONTENT_TYPE})
