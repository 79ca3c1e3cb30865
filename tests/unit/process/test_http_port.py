"""The HTTP port under callers that nobody has asked for: the loop is not held up, and a probe gets through."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from rstore_api import exposition
from rstore_api.exposition import Exposition
from rstore_replica.metrics import Metrics
from rstore_replica.process import http_port
from rstore_replica.process.http_port import MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, HttpServer
from unit.api.client_servers import until

SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

BURST = """
import socket, sys
connections = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(500)]
answered = 0
for connection in connections:
    try:
        connection.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    except OSError:
        pass
for connection in connections:
    try:
        answered += b"rstore_requests" in b"".join(iter(lambda: connection.recv(1 << 16), b""))
    except OSError:
        pass
print(answered)
"""
"""500 scrapes at once, from a process of their own; prints how many were answered."""


class CountedMetrics(Metrics):
    """Counts how often its text is made, and where."""

    def __init__(self, padding: int = 0) -> None:
        super().__init__()
        self.padding = b"# " + b"x" * padding
        self.readings = 0
        self.threads: list[int] = []

    def take_reading(self) -> None:
        self.readings += 1

    def render(self) -> bytes:
        self.threads.append(threading.get_ident())
        return super().render() + self.padding


@asynccontextmanager
async def serving(metrics: Metrics) -> AsyncIterator[tuple[HttpServer, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = HttpServer(
        host="127.0.0.1",
        port=port,
        exposition=Exposition(metrics),
        not_ready_reason=lambda: "",
        not_alive_reason=lambda: "",
    )
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop()


async def ask(port: int, request: bytes, *, source: str = "127.0.0.1") -> bytes:
    """The whole answer; b"" when the connection was ended instead."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        writer.write(request)
        answer = await reader.read()
        writer.close()
    except OSError:
        return b""
    return answer


async def silent(stack: AsyncExitStack, port: int, source: str) -> asyncio.StreamReader:
    """A connection that says nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    stack.callback(writer.close)
    return reader


async def test_a_burst_of_scrapes_is_one_text_made_in_a_thread() -> None:
    metrics = CountedMetrics()
    async with serving(metrics) as (server, port):
        loop, lags = asyncio.get_running_loop(), []
        began = loop.time()

        async def meter() -> None:
            while True:
                due = loop.time() + 0.01
                await asyncio.sleep(0.01)
                lags.append(loop.time() - due)

        metering = asyncio.create_task(meter())
        burst = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BURST, str(port), stdout=asyncio.subprocess.PIPE
        )
        answered = int((await burst.communicate())[0])
        metering.cancel()
        seconds = loop.time() - began
        assert (await ask(port, PROBE)).startswith(b"HTTP/1.1 200")
        assert len(server._connections) <= MAX_CONNECTIONS_PER_ADDRESS
    assert answered >= MAX_CONNECTIONS_PER_ADDRESS
    assert len(metrics.threads) == metrics.readings <= 1 + seconds / exposition.RENDER_SECONDS
    assert threading.get_ident() not in metrics.threads
    print(f"500 scrapes in {seconds:.2f} s, the loop was late by {max(lags) * 1000:.0f} ms at most")


async def test_a_scrape_is_at_most_as_old_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "RENDER_SECONDS", 0.2)
    metrics = CountedMetrics()
    scrapes = Exposition(metrics)
    await scrapes.text()
    metrics.forwarded.labels("Put").inc()
    await asyncio.sleep(0.2)
    assert b'rstore_forwarded_requests_total{method="Put"} 1.0' in await scrapes.text()
    assert len(metrics.threads) == 2


async def test_a_text_that_is_too_old_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "RENDER_SECONDS", 0.01)
    scrapes = Exposition(CountedMetrics())
    text = await scrapes.text()
    await until(lambda: not scrapes._text)
    assert await scrapes.text() == text


async def test_a_text_that_cannot_be_made_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "RENDER_SECONDS", 0.0)
    metrics = CountedMetrics()
    scrapes = Exposition(metrics)
    with monkeypatch.context() as broken:
        broken.setattr(metrics, "render", lambda: 1 / 0)
        results = await asyncio.gather(scrapes.text(), scrapes.text(), return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError] * 2
    assert b"rstore_requests" in await scrapes.text()


@pytest.mark.parametrize("addresses", [1, 10])
async def test_a_probe_gets_through_past_any_number_of_silent_connections(addresses: int) -> None:
    async with AsyncExitStack() as stack:
        server, port = await stack.enter_async_context(serving(CountedMetrics()))
        for number in range(3 * MAX_CONNECTIONS):
            await silent(stack, port, f"127.0.1.{1 + number % addresses}")
        for source in ("127.0.1.1", "127.0.2.1"):
            assert (await ask(port, PROBE, source=source)).startswith(b"HTTP/1.1 200")
        bound = MAX_CONNECTIONS_PER_ADDRESS if addresses == 1 else MAX_CONNECTIONS
        assert len(server._connections) <= bound


async def test_one_caller_is_not_ended_for_another_that_has_more() -> None:
    async with AsyncExitStack() as stack:
        _, port = await stack.enter_async_context(serving(CountedMetrics()))
        modest = await silent(stack, port, "127.0.2.1")
        for number in range(3 * MAX_CONNECTIONS):
            await silent(stack, port, f"127.0.1.{1 + number % 5}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(modest.read(), timeout=0.2)


@pytest.mark.parametrize("request_bytes", [b"", b"GET /metr", SCRAPE], ids=["silent", "slow to ask", "reads nothing"])
async def test_a_connection_has_a_deadline(monkeypatch: pytest.MonkeyPatch, request_bytes: bytes) -> None:
    monkeypatch.setattr(http_port, "CONNECTION_SECONDS", 0.3)
    monkeypatch.setattr(http_port, "SWEEP_SECONDS", 0.05)
    async with serving(CountedMetrics(padding=32 << 20)) as (server, port):
        with socket.create_connection(("127.0.0.1", port)) as caller:
            await asyncio.to_thread(caller.sendall, request_bytes)
            await until(lambda: bool(server._connections))
            await until(lambda: not server._connections)
