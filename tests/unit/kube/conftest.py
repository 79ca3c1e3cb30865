"""An API server of a few lines, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration
from rstore_kube.access import Access
from rstore_kube.client import KubeClient


@pytest.fixture
def serve():
    """``async with serve(handler) as client``: every request goes to the handler."""

    @asynccontextmanager
    async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[KubeClient]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await handler(request)

        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
        configuration.api_key["BearerToken"] = "Bearer secret"
        client = KubeClient(Access(configuration, "default"), field_manager="tests", timeout_seconds=5)
        try:
            yield client
        finally:
            await client.close()
            await runner.cleanup()

    return serving
