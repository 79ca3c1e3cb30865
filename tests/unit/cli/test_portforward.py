"""The local listener: many connections, both directions, clean ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from rstore_cli.errors import CliError
from rstore_cli.portforward import MAX_CONNECTIONS, PortForward
from unit.cli.fakes import FakePort


@asynccontextmanager
async def echo_server() -> AsyncIterator[tuple[str, int]]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield host, port


def opener(address: tuple[str, int], problem: str = "") -> Callable[[], Awaitable[FakePort]]:
    return lambda: FakePort.open(address, problem)


async def connect(forward: PortForward) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = forward.endpoint.rsplit(":", 1)
    return await asyncio.open_connection(host, int(port))


async def test_bytes_go_both_ways_on_many_connections() -> None:
    async with echo_server() as address, PortForward(opener(address)) as forward:

        async def talk(number: int) -> None:
            reader, writer = await connect(forward)
            sent = bytes([number]) * 300_000
            writer.write(sent)
            assert await asyncio.wait_for(reader.readexactly(len(sent)), 10) == sent
            writer.close()

        await asyncio.gather(*(talk(number) for number in range(5)))
        assert forward.last_error == ""


async def test_a_connection_that_cannot_be_opened_is_closed_and_its_error_kept() -> None:
    async def refuse() -> FakePort:
        raise CliError("connection refused by the pod")

    async with PortForward(refuse) as forward:
        reader, writer = await connect(forward)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert forward.last_error == "connection refused by the pod"
        writer.close()


async def test_leaving_ends_what_is_open() -> None:
    async with echo_server() as address:
        async with PortForward(opener(address)) as forward:
            reader, writer = await connect(forward)
            writer.write(b"x")
            assert await asyncio.wait_for(reader.readexactly(1), 10) == b"x"
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


@pytest.mark.parametrize("turns_of_the_loop", [0, 3, 4, 5])
async def test_a_connection_accepted_while_it_is_left_ends_too(turns_of_the_loop: int) -> None:
    # 0: not accepted yet; 3: accepted, the callback follows; 4: its task has not begun; 5: it has.
    async with echo_server() as address, PortForward(opener(address)) as forward:
        host, port = forward.endpoint.rsplit(":", 1)
        client = socket.create_connection((host, int(port)))
        client.setblocking(False)
        for _ in range(turns_of_the_loop):
            await asyncio.sleep(0)
        await forward.__aexit__(None, None, None)
        with client, contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 10) == b""


async def test_the_error_of_the_far_side_is_kept() -> None:
    async with echo_server() as address, PortForward(opener(address, "port 2379 is closed")) as forward:
        reader, writer = await connect(forward)
        writer.write(b"x")
        await asyncio.wait_for(reader.readexactly(1), 10)
        writer.close()
        async with asyncio.timeout(10):
            while not forward.last_error:  # noqa: ASYNC110 - polled with a deadline
                await asyncio.sleep(0.01)
        assert forward.last_error == "port 2379 is closed"


async def test_connections_are_bounded() -> None:
    async with echo_server() as address, PortForward(opener(address)) as forward:
        kept = []
        for _ in range(MAX_CONNECTIONS):
            reader, writer = await connect(forward)
            writer.write(b"x")
            await asyncio.wait_for(reader.readexactly(1), 10)
            kept.append(writer)
        reader, writer = await connect(forward)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert "more than" in forward.last_error
        for one in [*kept, writer]:
            one.close()
