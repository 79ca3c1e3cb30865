from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from unit.api.client_servers import ScriptedServer, Step

StartServer = Callable[..., Awaitable[ScriptedServer]]


@pytest.fixture
async def scripted() -> AsyncIterator[StartServer]:
    """Starts scripted servers and stops them afterwards."""
    servers: list[ScriptedServer] = []

    async def start(*script: Step, host: str = "127.0.0.1", port: int = 0) -> ScriptedServer:
        server = await ScriptedServer(*script).start(host, port)
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
