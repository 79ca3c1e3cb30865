"""A local TCP listener whose connections end at a pod's port, through the Kubernetes API (``kubectl port-forward``)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol

from rstore_cli.errors import CliError

CHUNK_BYTES = 65_536
MAX_CONNECTIONS = 16


class Connection(Protocol):
    """What is needed of :class:`rstore_kube.pod_port.PodPort`."""

    error: str
    """What the far side said was wrong, "" when it said nothing."""

    async def read(self) -> bytes:
        """The next bytes from there; empty at the end."""

    async def write(self, content: bytes) -> None:
        """Send bytes there. Raises ConnectionError."""

    async def close(self) -> None:
        """End the connection."""


OpenPort = Callable[[], Awaitable[Connection]]
"""Opens one connection. Raises CliError."""


class PortForward:
    """Listens on a free port of 127.0.0.1 while entered; ``endpoint`` is its ``host:port``.

    ``last_error`` is why the newest failed connection failed, "" when none did.
    """

    def __init__(self, open_port: OpenPort) -> None:
        self._open_port = open_port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.last_error = ""

    @property
    def endpoint(self) -> str:
        """Where clients connect to."""
        if self._server is None:
            raise RuntimeError("the port forward has not been entered")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def __aenter__(self) -> PortForward:
        self._server = await asyncio.start_server(self._accepted, host="127.0.0.1", port=0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted while it was being closed
            writer.close()
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self.last_error = f"more than {MAX_CONNECTIONS} connections at once"
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: writer.close())  # also of a task that was cancelled before it began

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await self._open_port()
        except CliError as error:
            self.last_error = error.message
            return
        pumps = [asyncio.create_task(_to_pod(reader, far)), asyncio.create_task(_from_pod(far, writer))]
        try:
            # Either side's end ends the connection: the protocol behind it is HTTP/2, which has no half-open use.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.last_error = far.error or self.last_error
            await far.close()


async def _to_pod(reader: asyncio.StreamReader, far: Connection) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(CHUNK_BYTES):
            await far.write(chunk)


async def _from_pod(far: Connection, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await far.read():
            writer.write(chunk)
            await writer.drain()
