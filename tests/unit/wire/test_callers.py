"""Callers are identified once, and anew when what they may do has changed: who has lost something goes at once."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import grpc
import pytest
from rstore_wire import frames
from unit.wire.wire_servers import SERVICE, RawClient, channel_to, serving

SLOW, CHAT, UNARY = f"/{SERVICE}/Slow", f"/{SERVICE}/Chat", f"/{SERVICE}/Unary"


def _is_first(before: int, _now: int) -> bool:
    return before == 0


async def _until_served(echo: Any, count_: int) -> None:
    async with asyncio.timeout(5):
        await echo.started.wait()
    assert echo.calls == count_


async def test_streams_of_a_caller_that_is_shut_out_end_within_a_round_of_the_loop() -> None:
    numbers = count()
    async with serving(identify=lambda _auth: next(numbers)) as (server, echo, port), channel_to(port) as channel:
        chat = channel.stream_stream(CHAT)()
        await chat.write(b"1")
        assert await chat.read() == b"1"
        echo.started.clear()
        slow = asyncio.ensure_future(channel.unary_unary(SLOW)(b"2"))
        await _until_served(echo, 1)
        assert server.kept["tasks"] == 2
        server.identify_again(_is_first)
        assert server.kept["calls"] == 0
        await asyncio.sleep(0)
        assert echo.cancelled.is_set()
        await asyncio.sleep(0)
        assert server.kept["tasks"] == 0
        assert server.refusals.counts["shut_out"] == 1
        assert await chat.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError):
            await slow


async def test_the_others_go_on_without_an_error() -> None:
    numbers = count()
    async with (
        serving(identify=lambda _auth: next(numbers)) as (server, echo, port),
        channel_to(port) as shut_out,
        channel_to(port) as staying,
    ):
        assert await shut_out.unary_unary(UNARY)(b"x") == b"x"
        slow = asyncio.ensure_future(staying.unary_unary(SLOW)(b"2"))
        await _until_served(echo, 2)
        server.identify_again(_is_first)
        echo.release.set()
        assert await slow == b"2"
        assert await shut_out.unary_unary(UNARY)(b"y", wait_for_ready=True) == b"y", "on a connection of its own"
        assert next(numbers) == 2 + 2 + 1, "each is identified once, once more when asked to, and the new one"


async def test_a_client_that_does_not_read_does_not_keep_its_connection() -> None:
    async with serving() as (server, _echo, port):
        client = await RawClient.connect(port)
        await client.next_of(frames.SETTINGS)
        server.identify_again(lambda _before, _now: True)
        assert await client.ended_with() == 0


async def test_what_a_caller_was_refused_is_asked_again_when_it_may_do_more() -> None:
    admitted = False

    def admit(_method: str, caller: bool) -> tuple[grpc.StatusCode, str, tuple[()]] | None:
        return None if caller else (grpc.StatusCode.PERMISSION_DENIED, "no", ())

    async with (
        serving(identify=lambda _auth: admitted, admit=admit) as (server, _echo, port),
        channel_to(port) as channel,
    ):
        call = channel.unary_unary(UNARY)
        for _ in range(3):  # the block of headers is the same from the second call on
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"x")
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert server.refusals.counts["not_admitted"] >= 1
        admitted = True
        server.identify_again(lambda before, now: before and not now)
        assert await call(b"x") == b"x"
        assert server.refusals.counts["shut_out"] == 0


async def test_a_servicer_sees_who_calls() -> None:
    async with (
        serving(identify=lambda auth: ("known by", dict(auth))) as (_server, echo, port),
        channel_to(port) as channel,
    ):
        await channel.unary_unary(UNARY)(b"x")
        assert echo.seen.caller == ("known by", {})


async def test_a_caller_with_a_share_has_no_more_calls_under_way_on_all_its_connections() -> None:
    callers, bound = iter(["shop", "shop", "other"]), 2
    names: dict[int, str] = {}

    def identify(auth: Any) -> str:
        return names.setdefault(id(auth), next(callers, ""))

    def share_of(caller: str) -> tuple[str, int] | None:
        return ("shop", bound) if caller == "shop" and bound else None

    async with (
        serving(identify=identify, share_of=share_of) as (server, echo, port),
        channel_to(port) as first,
        channel_to(port) as second,
        channel_to(port) as other,
    ):
        under_way = []
        for channel in (first, second):
            under_way.append(asyncio.ensure_future(channel.unary_unary(SLOW)(b"x")))
            await _until_served(echo, len(under_way))
            echo.started.clear()
        for channel in (first, second):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(UNARY)(b"y")
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert server.refusals.counts["calls_of_client"] == 2
        assert await other.unary_unary(UNARY)(b"y") == b"y"
        bound = 3
        server.identify_again(lambda _before, _now: False)
        assert await first.unary_unary(UNARY)(b"y") == b"y"
        bound = 0
        server.identify_again(lambda _before, _now: False)
        assert await asyncio.gather(*(first.unary_unary(UNARY)(b"y") for _ in range(5))) == [b"y"] * 5
        echo.release.set()
        assert await asyncio.gather(*under_way) == [b"x"] * 2
        bound = 1
        server.identify_again(lambda _before, _now: False)
        assert await first.unary_unary(UNARY)(b"y") == b"y", "calls that have ended take nothing of the share"
