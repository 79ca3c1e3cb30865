"""What gRPC's own client sees of the server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from rstore_wire.limits import Limits
from unit.wire.wire_servers import MAX_MESSAGE_BYTES, SERVICE, channel_to, serving, until


def unary(channel: grpc.aio.Channel, name: str) -> Any:
    return channel.unary_unary(f"/{SERVICE}/{name}")


async def test_messages_of_every_size_come_back() -> None:
    async with serving() as (_, _, port), channel_to(port) as channel:
        for size in (0, 1, 16_378, 16_379, 16_380, 65_535, 1 << 20, MAX_MESSAGE_BYTES):
            message = bytes(i & 0xFF for i in range(256)) * (size // 256) + b"x" * (size % 256)
            assert await unary(channel, "Unary")(message, timeout=20) == message


async def test_many_calls_at_once_each_get_their_own_answer() -> None:
    async with serving() as (_, _, port), channel_to(port) as channel:
        messages = [b"%d" % number * (number % 50) for number in range(3000)]
        call = unary(channel, "Unary")
        assert await asyncio.gather(*(call(message, timeout=30) for message in messages)) == messages


async def test_streams_in_all_directions() -> None:
    async with serving() as (_, _, port), channel_to(port) as channel:
        sent = [b"a" * size for size in (0, 5, 70_000, 3 << 20)]
        chat = channel.stream_stream(f"/{SERVICE}/Chat")(iter(sent), timeout=20)
        assert [message async for message in chat] == sent
        many = channel.unary_stream(f"/{SERVICE}/Many")(b"300 20000", timeout=20)
        assert [int.from_bytes(message[:4], "big") async for message in many] == list(range(300))
        assert await channel.stream_unary(f"/{SERVICE}/Collect")(iter(sent), timeout=20) == b"".join(sent)


async def test_a_caller_that_does_not_read_holds_the_servicer_back() -> None:
    async with serving() as (server, _, port), channel_to(port) as channel:
        call = channel.unary_stream(f"/{SERVICE}/Many")(b"100000 10000", timeout=30)
        assert await call.read() is not None
        await asyncio.sleep(0.5)
        [(connection)] = server._connections
        [stream] = connection.streams.values()
        assert 0 < stream._pending_bytes < 3 << 20
        for number in range(1, 3000):
            assert (await call.read())[:4] == number.to_bytes(4, "big")
        call.cancel()


async def test_an_abort_carries_status_text_and_metadata() -> None:
    async with serving() as (_, _, port), channel_to(port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "Refuse")(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.details() == "größer als 100 %"
        assert dict(caught.value.trailing_metadata()) == {"why": "because", "proof-bin": b"\x00\xff"}


async def test_a_bug_in_a_servicer_tells_no_secrets() -> None:
    async with serving() as (_, _, port), channel_to(port) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="Unexpected RuntimeError") as caught:
            await unary(channel, "Broken")(b"secret", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNKNOWN
        assert "secret" not in (caught.value.details() or "")


@pytest.mark.parametrize("path", ["/test.Echo/Nothing", "/test.Other/Unary"])
async def test_a_method_that_is_not_there_is_unimplemented(path: str) -> None:
    async with serving() as (_, _, port), channel_to(port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(path)(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_metadata_and_the_deadline_reach_the_servicer() -> None:
    async with serving() as (_, echo, port), channel_to(port) as channel:
        sent = (("key", "value"), ("data-bin", b"\x01\x80\xff"))
        await unary(channel, "Unary")(b"", timeout=5, metadata=sent)
        assert set(sent) <= set(echo.seen.invocation_metadata())
        assert 3 < echo.seen.time_remaining() < 5.5
        await unary(channel, "Unary")(b"")
        assert echo.seen.time_remaining() is None


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests_are_understood(compression: grpc.Compression) -> None:
    async with serving() as (_, _, port), channel_to(port, compression=compression) as channel:
        assert await unary(channel, "Unary")(b"z" * 100_000, timeout=5) == b"z" * 100_000
        with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as caught:
            await unary(channel, "Unary")(b"z" * (MAX_MESSAGE_BYTES + 1), timeout=10)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_message_that_is_too_large_is_refused_and_the_connection_goes_on() -> None:
    async with serving() as (server, _, port), channel_to(port) as channel:
        call = unary(channel, "Unary")
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as caught:
                await call(b"z" * (MAX_MESSAGE_BYTES + 1), timeout=10)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await call(b"x", timeout=5) == b"x"
        assert len(server._connections) == 1
        assert server._incomplete_bytes == 0


async def test_a_call_that_is_cancelled_is_cancelled_at_the_servicer() -> None:
    async with serving() as (server, echo, port), channel_to(port) as channel:
        call = unary(channel, "Slow")(b"")
        await asyncio.wait_for(echo.started.wait(), 5)
        call.cancel()
        await asyncio.wait_for(echo.cancelled.wait(), 5)
        await until(lambda: not server._serving)


async def test_a_call_ends_with_its_deadline_though_the_client_says_nothing() -> None:
    async with serving() as (_, echo, port), channel_to(port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "Slow")(b"", timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(echo.cancelled.wait(), 5)


async def test_a_stream_whose_client_goes_away_is_cancelled() -> None:
    async with serving() as (_, echo, port):
        async with channel_to(port) as channel:
            call = channel.stream_stream(f"/{SERVICE}/Chat")()
            await call.write(b"x")
            assert await call.read() == b"x"
        await asyncio.wait_for(echo.cancelled.wait(), 5)


async def test_stopping_lets_calls_end_and_takes_no_new_ones() -> None:
    async with serving() as (server, echo, port), channel_to(port) as channel:
        call = asyncio.ensure_future(unary(channel, "Slow")(b"end", timeout=10))
        await asyncio.wait_for(echo.started.wait(), 5)
        stopping = asyncio.create_task(server.stop(5))
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError):
            await unary(channel, "Unary")(b"", timeout=1)
        echo.release.set()
        assert await call == b"end"
        await stopping


async def test_stopping_cancels_what_does_not_end() -> None:
    async with serving() as (server, echo, port), channel_to(port) as channel:
        call = asyncio.ensure_future(unary(channel, "Slow")(b"", timeout=10))
        await asyncio.wait_for(echo.started.wait(), 5)
        await server.stop(0.1)
        assert echo.cancelled.is_set()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_calls_above_the_limit_are_refused() -> None:
    async with serving(limits=Limits(calls=2)) as (_, echo, port), channel_to(port) as channel:
        slow = [asyncio.ensure_future(unary(channel, "Slow")(b"", timeout=10)) for _ in range(3)]
        done, _ = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            done.pop().result()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        echo.release.set()
        await asyncio.gather(*slow, return_exceptions=True)
