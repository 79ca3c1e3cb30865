"""How much of a stream a client may send ahead of who reads it."""

from __future__ import annotations

import asyncio
import gzip
import struct

import pytest
from hpack import Decoder
from rstore_replica.process.listeners import peer_server
from rstore_wire import frames
from rstore_wire.headers import block
from rstore_wire.messages import PREFIX
from rstore_wire.stream import MAX_QUEUED_BYTES, STREAM_WINDOW_BYTES
from unit.wire.wire_servers import SERVICE, RawClient, channel_to, serving


@pytest.mark.parametrize(
    ("options", "expected"), [({}, STREAM_WINDOW_BYTES), ({"stream_window_bytes": 9 << 20}, 9 << 20)]
)
async def test_clients_are_sent_the_window_of_a_stream(options: dict[str, int], expected: int) -> None:
    async with serving(**options) as (_, _, port):
        raw = await RawClient.connect(port)
        _, _, payload = await raw.next_of(frames.SETTINGS)
        assert dict(struct.iter_unpack(">HI", payload))[frames.SETTING_INITIAL_WINDOW_SIZE] == expected
        raw.close()


@pytest.mark.parametrize("window_bytes", [1 << 20, 16 << 20])
async def test_a_client_goes_on_sending_until_the_window_is_full(window_bytes: int) -> None:
    """The servicer takes nothing."""
    message, most = bytes(100_000), 80
    async with serving(stream_window_bytes=window_bytes) as (_, echo, port), channel_to(port) as channel:
        chat = channel.stream_stream(f"/{SERVICE}/Stuck")()
        sent = 0
        try:
            async with asyncio.timeout(1.0):
                for sent in range(most):  # noqa: B007
                    await chat.write(message)
                sent = most
        except TimeoutError:
            pass
        chat.cancel()
        assert echo.started.is_set()
    if window_bytes > most * len(message):
        assert sent == most
    else:
        assert window_bytes // 2 < sent * len(message) < 4 * window_bytes


def test_the_peer_port_lets_a_source_have_a_whole_replication_window_on_its_way() -> None:
    assert peer_server(services=(), replication_window_bytes=8 << 20).stream_window_bytes == 16 << 20
    assert peer_server(services=(), replication_window_bytes=1 << 40).stream_window_bytes == frames.MAX_WINDOW


def compressed(message: bytes) -> bytes:
    """As it is sent by a client that compresses."""
    packed = gzip.compress(message)
    return PREFIX.pack(1, len(packed)) + packed


def head(stream: int, method: str) -> bytes:
    """How such a client begins a call."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", f"/{SERVICE}/{method}".encode()),
        (b":authority", b"h"),
        (b"content-type", b"application/grpc"),
        (b"grpc-encoding", b"gzip"),
        (b"te", b"trailers"),
    ]
    return frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block(fields))


async def begin_compressing(port: int, method: str) -> RawClient:
    raw = await RawClient.connect(port)
    raw.writer.write(head(1, method))
    return raw


async def test_a_client_that_compresses_may_send_as_much_again_as_it_has_sent() -> None:
    """And not as much as that becomes: its window would grow by what it never sent."""
    window_bytes, message = 64 << 10, compressed(bytes(1 << 20))
    async with serving(stream_window_bytes=window_bytes) as (_, _, port):
        raw = await begin_compressing(port, "Collect")
        sent = credited = 0
        for _ in range(40):
            raw.writer.write(frames.frame(frames.DATA, 0, 1, message))
            sent += len(message)
        while credited < sent - window_bytes // 2:
            _, stream, payload = await raw.next_of(frames.WINDOW_UPDATE)
            credited += frames.read_u32(payload) if stream == 1 else 0
        assert 0 < credited <= sent
        raw.close()


async def test_what_waits_to_be_taken_is_kept_as_it_came() -> None:
    message, count = compressed(bytes(4 << 20)), 50
    async with serving() as (server, echo, port):
        raw = await begin_compressing(port, "Stuck")
        for _ in range(count):
            raw.writer.write(frames.frame(frames.DATA, 0, 1, message))
        raw.writer.write(frames.frame(frames.PING, 0, 0, bytes(8)))
        assert (await raw.next_of(frames.PING))[0] == frames.ACK, "all of it has come"
        await asyncio.wait_for(echo.started.wait(), 10)
        (connection,) = server._connections
        waiting = connection.streams[1]._arrived
        assert len(waiting) == count
        assert sum(len(one.body) for one in waiting) < count * len(message)
        echo.release.set()
        raw.close()


@pytest.mark.parametrize("method", ["Chat", "Unary"])
async def test_a_message_that_cannot_be_decompressed_ends_its_call_alone(method: str) -> None:
    async with serving() as (_, _, port):
        raw = await begin_compressing(port, method)
        for stream, packed in ((1, b"no gzip"), (3, gzip.compress(bytes(9 << 20)))):
            if stream == 3:
                raw.writer.write(head(3, method))
            data = PREFIX.pack(1, len(packed)) + packed
            raw.writer.write(frames.frame(frames.DATA, frames.END_STREAM, stream, data))
            while True:
                flags, number, payload = await raw.next_of(frames.HEADERS)
                if flags & frames.END_STREAM:
                    break
            fields = dict(Decoder().decode(payload, raw=True))
            assert (number, fields[b"grpc-status"]) == (stream, b"13" if stream == 1 else b"8")
        raw.close()


async def test_messages_are_offered_until_the_client_does_not_take_them_and_again_once_it_does() -> None:
    async with serving() as (server, echo, port), channel_to(port) as channel:
        call = channel.stream_stream(f"/{SERVICE}/Offered")()
        async with asyncio.timeout(10):
            await echo.started.wait()
            kept = server.kept["unread_bytes"]
            sizes = [len(message) async for message in call]
        assert MAX_QUEUED_BYTES <= kept <= MAX_QUEUED_BYTES + 2 * (1 << 16)
        assert sizes == [1 << 16] * echo.calls + [4]


@pytest.mark.parametrize("size", [200, 5000, 20_000])
async def test_messages_that_differ_in_the_middle_are_sent_one_by_one_and_in_order(size: int) -> None:
    async with serving() as (_, echo, port), channel_to(port) as channel:
        call = channel.stream_stream(f"/{SERVICE}/OfferedEach")()
        async with asyncio.timeout(20):
            await call.write(b"%d" % size)
            messages = [message async for message in call]
        assert MAX_QUEUED_BYTES < echo.queued_bytes <= MAX_QUEUED_BYTES + 21_000, "the bound holds for many as for one"
        assert messages == [b"<%d" % number + bytes(size) for number in range(echo.calls + 100)]
