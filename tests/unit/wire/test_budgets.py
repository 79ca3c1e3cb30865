"""What one caller, and all together, may make a server do and keep; beside each attack an honest client is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rstore_wire import connection, frames, headers
from rstore_wire.frames import Code
from rstore_wire.limits import Limits
from rstore_wire.server import Server
from unit.wire.test_hostile import begin, body, head
from unit.wire.test_states import Talk, sent_frames
from unit.wire.wire_servers import SERVICE, Echo, RawClient, channel_to, serving, until

MIB = 1 << 20
WIDE = frames.settings({4: frames.MAX_WINDOW}) + frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW)
CLOSED = frames.settings({4: 0})
TIMEOUT = ("grpc-timeout", "200m")


@pytest.fixture(autouse=True)
def short_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.02)


@asynccontextmanager
async def attacked(**limits: Any) -> AsyncIterator[tuple[Server, Echo, RawClient]]:
    """A server with an attacker; at the end an honest client must have been served as well."""
    async with serving(limits=Limits(**limits)) as (server, echo, port), channel_to(port) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Unary")
        assert await call(b"before", timeout=5) == b"before"
        client = await RawClient.connect(port)
        yield server, echo, client
        assert await call(b"after" * 10_000, timeout=5) == b"after" * 10_000
        client.close()


# ---------------------------------------------------------------------- calls


async def test_data_behind_the_end_of_a_request_starts_no_servicer() -> None:
    async with attacked() as (server, echo, client):
        client.writer.write(begin(1, head("Slow")) + body(1) * 900)
        _, stream, payload = await client.next_of(frames.RST_STREAM)
        assert (stream, int.from_bytes(payload, "big")) == (1, Code.STREAM_CLOSED)
        await until(lambda: not server._serving)
        assert echo.calls <= 2  # the honest one, and the first of these if it came to run
        assert not server._open


async def test_a_request_that_does_not_end_is_given_up() -> None:
    async with attacked(request_seconds=0.3) as (server, _, client):
        client.writer.write(b"".join(begin(n) + frames.frame(frames.DATA, 0, n, b"\0\0\0") for n in range(1, 100, 2)))
        ended = [await client.next_of(frames.HEADERS) for _ in range(50)]
        assert all(flags & frames.END_STREAM and b"grpc-status\x014" in block for flags, _, block in ended)
        assert not server._open
        assert not server._incomplete
        assert server.refusals.counts["request_not_complete"] == 50


async def test_requests_that_do_not_end_make_room_for_those_that_do() -> None:
    async with attacked(calls=20) as (server, _, client):
        client.writer.write(b"".join(begin(n) for n in range(1, 200, 2)))
        await until(lambda: server.refusals.counts["calls_waiting_for_their_caller"] >= 80)
        assert len(server._open) == 20


async def test_what_has_come_of_a_request_is_released_whatever_ends_the_call() -> None:
    async with attacked() as (server, _, client):
        unfinished = b"\0" + (50_000).to_bytes(4, "big") + bytes(15_000)
        for number, method in enumerate(("Undecodable", "Chat", "Unary", "Missing", "Collect")):
            stream = 2 * number + 1
            client.writer.write(begin(stream, head(method)))
            whole = body(stream, b"x", flags=0) if method in ("Undecodable", "Chat") else b""
            client.writer.write(whole + frames.frame(frames.DATA, 0, stream, unfinished))
        await until(lambda: len(server._incomplete) == 3)
        client.writer.write(b"".join(frames.rst_stream(n, Code.CANCEL) for n in range(1, 11, 2)))
        await until(lambda: not server._incomplete)
        assert server._incomplete_bytes == 0
        assert {each.incomplete_bytes for each in server._connections} == {0}


async def test_the_oldest_unfinished_requests_make_room_for_new_ones() -> None:
    async with attacked(incomplete_bytes=200_000) as (server, _, client):
        unfinished = b"\0" + (50_000).to_bytes(4, "big") + bytes(15_000)
        for stream in range(1, 61, 2):
            client.writer.write(begin(stream) + frames.frame(frames.DATA, 0, stream, unfinished))
        _, first, _ = await client.next_of(frames.HEADERS)
        assert first == 1
        assert server._incomplete_bytes <= 200_000
        await until(lambda: server.refusals.counts["incomplete_requests"] == 17)


# ---------------------------------------------------------------------- answers


async def test_answers_that_are_not_read_are_bounded_and_end_at_the_deadline() -> None:
    async with attacked(unread_bytes_per_connection=4 * MIB) as (server, _, client):
        client.writer.write(CLOSED)
        for stream in range(1, 601, 2):
            client.writer.write(begin(stream, head("Large", TIMEOUT)) + body(stream))
        await until(lambda: server._unread_bytes)
        most = 0
        async with asyncio.timeout(10):
            while server._unread_bytes:
                most = max(most, server._unread_bytes)
                await asyncio.sleep(0.01)
        assert most <= 5 * MIB + 1024
        assert not server._open
        assert server.refusals.counts["answers_not_read"] > 200


async def test_an_answer_of_which_nothing_is_taken_is_given_up_without_a_deadline_too() -> None:
    async with attacked(answer_seconds=0.3) as (server, _, client):
        client.writer.write(CLOSED + begin(1, head("Large")) + body(1))
        _, stream, payload = await client.next_of(frames.RST_STREAM)
        assert (stream, int.from_bytes(payload, "big")) == (1, Code.CANCEL)
        assert not server._open
        assert server._unread_bytes == 0


async def test_the_connection_with_most_unread_answers_ends_for_the_others() -> None:
    async with attacked(unread_bytes=6 * MIB) as (server, _, client):
        _, port = client.writer.get_extra_info("peername")[:2]
        others = [await RawClient.connect(port) for _ in range(3)]
        for each, count in ((client, 4), (others[0], 1), (others[1], 1), (others[2], 2)):
            each.writer.write(CLOSED)
            each.writer.write(b"".join(begin(n, head("Large")) + body(n) for n in range(1, 2 * count, 2)))
            await each.next_of(frames.HEADERS)
        await client.ended_with()
        assert server._unread_bytes <= 7 * MIB
        assert server.refusals.counts["connection_with_most_unread_answers"] == 1
        for each in others:
            each.close()


async def test_a_stream_of_answers_to_a_caller_that_reads_nothing_ends() -> None:
    async with attacked(unread_bytes_per_connection=3 * MIB) as (server, _, client):
        client.writer.write(CLOSED)
        for stream in range(1, 41, 2):
            client.writer.write(begin(stream, head("Many")) + body(stream, b"100 1000000"))
        await until(lambda: server.refusals.counts["answers_not_read"] >= 15)
        assert server._unread_bytes <= 5 * MIB


async def test_a_large_answer_goes_out_in_slices() -> None:
    talk = Talk()
    talk.receive(WIDE + head_of("Huge") + body(1))
    for _ in range(200):
        await asyncio.sleep(0)
    assert sum(talk.network.sizes) > Echo.HUGE_BYTES
    assert max(talk.network.sizes) < MIB + 20_000
    talk.end()


async def test_nothing_is_handed_to_a_network_that_does_not_take_it() -> None:
    talk = Talk()
    talk.network.takes_bytes = 100_000
    talk.receive(WIDE + head_of("Huge") + body(1))
    for _ in range(200):
        await asyncio.sleep(0)
    taken = sum(talk.network.sizes)
    assert 100_000 <= taken < 2 * MIB
    talk.network.takes_bytes = frames.MAX_WINDOW
    talk.connection.resume_writing()
    for _ in range(200):
        await asyncio.sleep(0)
    assert sum(talk.network.sizes) > Echo.HUGE_BYTES
    talk.end()


async def test_refusals_that_are_not_read_end_the_connection() -> None:
    talk = Talk(Limits(unread_answers=50))
    talk.connection.pause_writing()
    talk.receive(b"".join(begin(n, head("Missing")) for n in range(1, 201, 2)))
    assert talk.connection.closing
    talk.end()


def head_of(method: str) -> bytes:
    return begin(1, head(method))


async def test_a_call_that_came_just_before_the_stop_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task has not begun when the connections are asked to leave."""
    async with serving() as (server, echo, port):
        client = await RawClient.connect(port)
        await until(lambda: server._connections)
        (connected,) = server._connections
        leave = connected.leave

        def take_and_leave(reason: str) -> None:
            connected.data_received(begin(1, head("Slow")) + body(1))
            leave(reason)

        monkeypatch.setattr(connected, "leave", take_and_leave)
        stopping = asyncio.create_task(server.stop(10))
        await asyncio.wait_for(echo.started.wait(), 5)
        assert not stopping.done()
        echo.release.set()
        await stopping
        assert await client.ended_with() == Code.NO_ERROR
        assert not server._serving


# ---------------------------------------------------------------------- frames


async def test_the_last_value_of_a_setting_counts() -> None:
    async with attacked() as (_, _, client):
        pairs = frames.settings({4: 5})[9:] * 31 + frames.settings({4: 1000})[9:]
        client.writer.write(frames.frame(frames.SETTINGS, 0, 0, pairs) + begin(1) + body(1, b"0123456789"))
        assert (await client.next_of(frames.DATA))[2][5:] == b"0123456789"


async def test_settings_come_a_few_times_a_second() -> None:
    async with attacked() as (_, _, client):
        client.writer.write(b"".join(begin(n) for n in range(1, 4096, 2)) + frames.settings({4: 7}) * 11)
        assert await client.ended_with() == Code.ENHANCE_YOUR_CALM


async def test_windows_that_open_by_a_byte_are_bounded() -> None:
    async with attacked() as (_, _, client):
        client.writer.write(CLOSED + begin(1, head("Large")) + body(1))
        await client.next_of(frames.HEADERS)
        client.writer.write(frames.window_update(1, 1) * 1_002)
        assert await client.ended_with() == Code.ENHANCE_YOUR_CALM


async def test_very_many_frames_are_taken_over_several_rounds_of_the_loop() -> None:
    talk = Talk()
    before = talk.connection.send_window
    talk.receive(frames.window_update(0, 2_000) * 2_500)
    seen = [talk.connection.send_window - before]
    while seen[-1] < 2_500 * 2_000:
        assert talk.network.reading is False
        await asyncio.sleep(0)
        seen.append(talk.connection.send_window - before)
    assert seen == [2_000_000, 4_000_000, 5_000_000]
    assert talk.network.reading
    talk.end()


MALFORMED = {
    "an upper-case name": ("X-Thing", "a"),
    "a pseudo-header behind others": (":path", "/x"),
    "an unknown pseudo-header": (":status", "200"),
    "a header of a connection": ("connection", "close"),
    "te that is not trailers": ("te", "gzip"),
    "a line break": ("a", "b\nc"),
    "a blank at the end": ("a", "b "),
    "an empty name": ("", "b"),
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_call_with_malformed_headers_is_refused_and_the_connection_goes_on(what: str) -> None:
    async with attacked() as (_, _, client):
        fields = [(b":method", b"POST"), (b":path", b"/x"), (b"content-type", b"application/grpc")]
        name, value = MALFORMED[what]
        client.writer.write(begin(1, headers.block([*fields, (name.encode(), value.encode())])))
        _, stream, payload = await client.next_of(frames.RST_STREAM)
        assert (stream, int.from_bytes(payload, "big")) == (1, Code.PROTOCOL_ERROR)
        client.writer.write(begin(3) + body(3, b"still"))
        assert (await client.next_of(frames.DATA))[2][5:] == b"still"


async def test_padding_is_credited() -> None:
    async with attacked() as (_, _, client):
        client.writer.write(begin(1, head("Collect")))
        padded = frames.frame(frames.DATA, frames.PADDED, 1, b"\xff" + b"\0\0\0\0\x01x" + bytes(255))
        for _ in range(20):
            client.writer.write(padded * 1_000)
            await client.writer.drain()
        client.writer.write(frames.frame(frames.DATA, frames.END_STREAM, 1))
        answer = b""
        while len(answer) < 20_005:
            answer += (await client.next_of(frames.DATA))[2]
        assert answer == b"\0" + (20_000).to_bytes(4, "big") + b"x" * 20_000


async def test_the_text_of_a_status_is_cut_between_characters() -> None:
    async with attacked() as (_, _, client):
        client.writer.write(begin(1, head("Verbose")) + body(1))
        flags, _, block = await client.next_of(frames.HEADERS)
        assert flags & frames.END_STREAM
        assert len(block) < 5_000
        assert block.endswith(b"%C3%A4")


def test_a_header_block_larger_than_a_frame_goes_on() -> None:
    out = frames.header_block(1, bytes(range(250)) * 10, end_stream=True, max_frame_bytes=1_000)
    kinds = [(kind, flags, payload) for kind, flags, _, payload in sent_frames(out)]
    assert [(kind, flags) for kind, flags, _ in kinds] == [
        (frames.HEADERS, frames.END_STREAM),
        (frames.CONTINUATION, 0),
        (frames.CONTINUATION, frames.END_HEADERS),
    ]
    assert b"".join(payload for _, _, payload in kinds) == bytes(range(250)) * 10


# ---------------------------------------------------------------------- connections


async def test_a_connection_that_is_idle_makes_room_for_a_new_one() -> None:
    async with serving(limits=Limits(connections=3)) as (server, echo, port):
        busy = [await RawClient.connect(port) for _ in range(2)]
        for client in busy:
            client.writer.write(begin(1, head("Slow")) + body(1))
        idle = await RawClient.connect(port)
        await until(lambda: len(server._serving) == 2 and len(server._connections) == 3)
        async with channel_to(port) as channel:
            assert await channel.unary_unary(f"/{SERVICE}/Unary")(b"x", timeout=5) == b"x"
            assert await idle.ended_with() == Code.NO_ERROR
            assert len(server._serving) == 2
        echo.release.set()
        for client in busy:
            client.close()


async def test_an_address_has_a_share_of_the_connections() -> None:
    async with serving(limits=Limits(connections_per_address=2)) as (server, echo, port):
        busy = [await RawClient.connect(port) for _ in range(2)]
        for client in busy:
            client.writer.write(begin(1, head("Slow")) + body(1))
        await until(lambda: len(server._serving) == 2)
        refused = await RawClient.connect(port)
        assert await refused.ended_with() is None
        assert server.refusals.counts["connections"] == 1
        busy[0].close()
        await until(lambda: len(server._connections) == 1)
        taken = await RawClient.connect(port)
        taken.writer.write(begin(1) + body(1, b"in"))
        assert (await taken.next_of(frames.DATA))[2][5:] == b"in"
        echo.release.set()
        busy[1].close()
        taken.close()


async def test_an_idle_connection_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_looks(monkeypatch)
    async with serving(limits=Limits(idle_seconds=0.3)) as (server, _, port):
        client = await RawClient.connect(port)
        assert await answer_pings(client) == Code.NO_ERROR
        assert await client.ended_with() is None
        assert not server._connections


async def test_a_connection_that_has_reached_its_age_takes_no_streams_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_looks(monkeypatch)
    async with serving(limits=Limits(max_age_seconds=0.3)) as (_, echo, port):
        client = await RawClient.connect(port)
        client.writer.write(begin(1, head("Slow")) + body(1, b"late"))
        client_pings = asyncio.create_task(answer_pings(client))
        await echo.started.wait()
        assert await client_pings == Code.NO_ERROR
        client.writer.write(begin(3) + body(3))
        assert (await client.next_of(frames.RST_STREAM))[1] == 3
        echo.release.set()
        assert (await client.next_of(frames.DATA))[2][5:] == b"late"
        await client.ended_with()


def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks at its connections often; a caller has long to answer a PING."""
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.1)
    monkeypatch.setattr(connection, "KEEPALIVE_TIMEOUT_SECONDS", 1.0)


async def answer_pings(client: RawClient) -> int:
    """Until the server goes away; returns the code."""
    while True:
        kind, flags, _, payload = await client.frame()
        if kind == frames.PING and not flags & frames.ACK:
            client.writer.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        if kind == frames.GOAWAY:
            return int.from_bytes(payload[4:8], "big")


async def test_a_caller_that_sends_no_preface_is_dropped() -> None:
    async with serving(limits=Limits(handshake_seconds=0.2)) as (server, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.wait_for(reader.read(), 5)
        assert server.refusals.counts["handshake_timeout"] == 1
        writer.close()
