"""A relay delays, loses, slows and cuts what it carries, and never changes it."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import asynccontextmanager, suppress

import pytest
from localkube.links.pipe import Link
from localkube.links.relay import Relay
from localkube.links.rules import HANG, RESET, WHOLE, LinkRule


@asynccontextmanager
async def relayed(rule: LinkRule = WHOLE, *, handler=None):
    """An echo server behind a relay; yields relay and its two links."""

    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handler or echo, "127.0.0.1", 0)
    there, back = Link(rule), Link(rule)
    try:
        async with Relay(
            ("127.0.0.1", 0), ("127.0.0.1", server.sockets[0].getsockname()[1]), there, back, seed=1
        ) as relay:
            yield relay, there, back
    finally:
        server.close()


async def ask(reader, writer, data: bytes, *, timeout: float = 60.0) -> float:
    began = time.monotonic()
    writer.write(data)
    async with asyncio.timeout(timeout):
        assert await reader.readexactly(len(data)) == data
    return time.monotonic() - began


async def test_bytes_come_through_unchanged_and_the_end_is_passed_on():
    async with relayed() as (relay, _, _):
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        await ask(reader, writer, bytes(range(256)) * 4096)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_a_round_trip_takes_both_delays_and_pipelining_does_not_add_them_up():
    async with relayed(LinkRule(delay_ms=40)) as (relay, _, _):
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        await ask(reader, writer, b"hello")
        assert await ask(reader, writer, b"x") >= 0.078
        began = time.monotonic()
        for _ in range(50):
            writer.write(b"y" * 1000)
        await reader.readexactly(50_000)
        assert time.monotonic() - began < 3, "fifty messages were one after the other on their way"
        writer.close()


async def test_a_connection_begins_with_a_round_trip():
    async with relayed(LinkRule(delay_ms=50)) as (relay, _, _):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        await ask(reader, writer, b"x")
        assert time.monotonic() - began >= 0.198
        writer.close()


async def test_loss_is_a_stall_of_all_that_comes_after_and_no_byte_is_missing():
    async with relayed(LinkRule(loss_percent=5)) as (relay, _, _):
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        times = [await ask(reader, writer, b"%05d" % number) for number in range(60)]
        assert max(times) >= 0.2
        assert sorted(times)[len(times) // 2] < 0.2
        writer.close()


async def test_a_rate_is_kept_and_the_sender_has_to_wait():
    async with relayed(LinkRule(bytes_per_second=1_000_000)) as (relay, _, back):
        back.change(LinkRule())
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        assert await ask(reader, writer, b"z" * 500_000) >= 0.45
        writer.close()


@pytest.mark.parametrize("way", ["there", "back"])
async def test_a_hanging_link_tells_nobody_and_delivers_when_it_is_whole_again(way):
    async with relayed() as (relay, there, back):
        link = there if way == "there" else back
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        await ask(reader, writer, b"before")
        link.change(LinkRule(cut=HANG))
        writer.write(b"during")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        fresh_reader, fresh_writer = await asyncio.open_connection(relay.host, relay.port)
        fresh_writer.write(b"fresh")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fresh_reader.read(1), 0.3)
        link.change(LinkRule())
        assert await asyncio.wait_for(reader.readexactly(6), 5) == b"during"
        assert await asyncio.wait_for(fresh_reader.readexactly(5), 5) == b"fresh"
        writer.close()
        fresh_writer.close()


async def test_the_end_of_a_process_is_not_seen_through_a_hanging_link():
    async def goes_away(reader, writer):
        await reader.readexactly(1)
        writer.transport.abort()

    async with relayed(handler=goes_away) as (relay, _, back):
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        await asyncio.sleep(0)
        back.change(LinkRule(delay_ms=1))
        back.change(LinkRule(cut=HANG))
        writer.write(b"x")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        back.change(LinkRule())
        assert await asyncio.wait_for(reader.read(1), 5) == b""
        writer.close()


async def test_a_reset_link_breaks_connections_and_refuses_new_ones():
    async with relayed() as (relay, there, _):
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        await ask(reader, writer, b"before")
        there.change(LinkRule(cut=RESET))
        for _ in range(2):
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(1), 5) == b""
            writer.close()
            reader, writer = await asyncio.open_connection(relay.host, relay.port)
        there.change(LinkRule())
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        await ask(reader, writer, b"after")
        writer.close()


async def test_a_receiver_that_does_not_read_holds_up_the_sender():
    over = asyncio.Event()

    async def never_reads(_reader, writer):
        await over.wait()
        writer.transport.abort()

    async with relayed(LinkRule(delay_ms=1), handler=never_reads) as (relay, _, _):
        _, writer = await asyncio.open_connection(relay.host, relay.port)
        writer.transport.set_write_buffer_limits(high=65536)
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                writer.write(b"x" * 65536)
                sent += 65536
                await writer.drain()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send(), 2)
        assert sent < 64 * 1024 * 1024
        writer.transport.abort()
        over.set()


async def test_where_nobody_listens_the_dialler_sees_its_connection_end():
    async with relayed() as (_, there, back):
        pass
    async with Relay(("127.0.0.1", 0), ("127.0.0.1", 1), there, back) as relay:
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(1), 5) == b""
        writer.close()


async def test_an_end_that_was_held_back_and_has_nobody_left_to_hear_it_breaks_nothing():
    """The dialler is gone in the very moment in which it is to hear of the end of what it is told."""

    reached, cut = asyncio.Event(), asyncio.Event()

    async def says_all(reader, writer):
        await reader.readexactly(1)
        reached.set()
        await cut.wait()
        writer.write_eof()
        await reader.read()
        writer.close()

    async with relayed(handler=says_all) as (relay, _, back):
        dialler = socket.create_connection((relay.host, relay.port))
        dialler.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        dialler.send(b"x")
        await reached.wait()
        back.change(LinkRule(cut=HANG))
        cut.set()
        await asyncio.sleep(0.2)
        dialler.close()
        back.change(LinkRule())
        reader, writer = await asyncio.open_connection(relay.host, relay.port)
        writer.write(b"x")
        assert await asyncio.wait_for(reader.read(1), 5) == b""
        writer.close()
