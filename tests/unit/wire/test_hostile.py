"""A caller that breaks the protocol, or asks for too much, is cut off; the others do not notice."""

from __future__ import annotations

import random

import pytest
from hpack import Encoder
from rstore_wire import connection, frames
from rstore_wire.frames import Code, Work
from rstore_wire.limits import Limits
from unit.wire.wire_servers import SERVICE, RawClient, channel_to, serving, until


def head(name: str = "Unary", *more: tuple[str, str]) -> bytes:
    """The headers of a call, by a fresh encoder: nothing that it says depends on earlier ones."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", f"/{SERVICE}/{name}"), (":authority", "x")]
    return bytes(Encoder().encode([*fields, ("content-type", "application/grpc"), ("te", "trailers"), *more]))


def begin(stream: int, block: bytes | None = None, flags: int = frames.END_HEADERS) -> bytes:
    return frames.frame(frames.HEADERS, flags, stream, head() if block is None else block)


def body(stream: int, message: bytes = b"x", flags: int = frames.END_STREAM) -> bytes:
    return frames.frame(frames.DATA, flags, stream, b"\0" + len(message).to_bytes(4, "big") + message)


_LONG = b"\0\x7f" + b"\xff" * 3
BROKEN = {
    "data on an idle stream": (body(1), Code.PROTOCOL_ERROR),
    "a reset of an idle stream": (frames.rst_stream(3, Code.CANCEL), Code.PROTOCOL_ERROR),
    "a stream of an even number": (begin(2), Code.PROTOCOL_ERROR),
    "headers on no stream": (begin(0), Code.PROTOCOL_ERROR),
    "a frame that is too large": (frames.frame(frames.DATA, 0, 1, bytes(16_385)), Code.FRAME_SIZE_ERROR),
    "a window of zero": (frames.window_update(0, 0), Code.PROTOCOL_ERROR),
    "a window that overflows": (frames.window_update(0, frames.MAX_WINDOW), Code.FLOW_CONTROL_ERROR),
    "a window of an idle stream": (frames.window_update(1, 1), Code.PROTOCOL_ERROR),
    "a setting that makes a stream's window overflow": (
        begin(1) + frames.window_update(1, 1 << 30) + frames.settings({4: frames.MAX_WINDOW}),
        Code.FLOW_CONTROL_ERROR,
    ),
    "a ping of a stream": (frames.frame(frames.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "settings of a stream": (frames.frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "an acknowledgement with settings": (frames.frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "a push that may be 2": (frames.settings({2: 2}), Code.PROTOCOL_ERROR),
    "more settings than there are names": (
        frames.frame(frames.SETTINGS, 0, 0, bytes(6) * 33),
        Code.ENHANCE_YOUR_CALM,
    ),
    "a stream that goes away": (frames.frame(frames.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "the priority of no stream": (frames.frame(frames.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "a reset of a wrong size": (begin(1) + frames.frame(frames.RST_STREAM, 0, 1, b"x"), Code.FRAME_SIZE_ERROR),
    "a window update of a wrong size": (frames.frame(frames.WINDOW_UPDATE, 0, 0, b"x"), Code.FRAME_SIZE_ERROR),
    "a ping of a wrong size": (frames.frame(frames.PING, 0, 0, b"x"), Code.FRAME_SIZE_ERROR),
    "settings of a wrong size": (frames.frame(frames.SETTINGS, 0, 0, b"x"), Code.FRAME_SIZE_ERROR),
    "a window setting out of bounds": (frames.settings({4: 1 << 31}), Code.FLOW_CONTROL_ERROR),
    "a frame size out of bounds": (frames.settings({5: 100}), Code.PROTOCOL_ERROR),
    "a push": (frames.frame(frames.PUSH_PROMISE, 0, 1, b"abcd"), Code.PROTOCOL_ERROR),
    "a continuation of nothing": (frames.frame(frames.CONTINUATION, 0, 1, b"x"), Code.PROTOCOL_ERROR),
    "headers that do not go on": (begin(1, flags=0) + frames.frame(frames.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "headers without end": (
        begin(1, flags=0) + frames.frame(frames.CONTINUATION, 0, 1, bytes(16_000)) * 3,
        Code.ENHANCE_YOUR_CALM,
    ),
    "continuations of nothing without end": (
        begin(1, flags=0) + frames.frame(frames.CONTINUATION, 0, 1),
        Code.ENHANCE_YOUR_CALM,
    ),
    "headers that cannot be read": (begin(1, b"\xff\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
    "an index that is not there": (begin(1, b"\xfe"), Code.COMPRESSION_ERROR),
    "more padding than frame": (
        begin(1) + frames.frame(frames.DATA, frames.PADDED, 1, b"\x09x"),
        Code.PROTOCOL_ERROR,
    ),
    "headers in the middle": (begin(1) + begin(1), Code.PROTOCOL_ERROR),
    "header bomb": (
        begin(1, head("Unary", ("a", "b" * 4000)) + b"\xbe" * 10_000),
        Code.COMPRESSION_ERROR,
    ),
}


@pytest.fixture(autouse=True)
def short_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that is cut off is in this process and is notified at once."""
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.02)


@pytest.mark.parametrize("what", BROKEN)
async def test_a_caller_that_breaks_the_protocol_is_notified_and_cut_off(what: str) -> None:
    sent, code = BROKEN[what]
    async with serving() as (running, _, port):
        client = await RawClient.connect(port)
        client.writer.write(sent)
        assert await client.ended_with() == code
        client.close()
        assert not running._serving


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"])
async def test_a_caller_that_speaks_something_else_is_cut_off(first: bytes) -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port, first)
        assert await client.ended_with() is None


async def test_random_bytes_do_no_harm() -> None:
    rng = random.Random(5)
    pieces = [
        begin(1),
        body(1),
        begin(3),
        frames.settings({3: 7}),
        frames.window_update(0, 9),
        frames.rst_stream(1, Code.CANCEL),
    ]
    async with serving() as (running, _, port), channel_to(port) as channel:
        for _ in range(150):
            data = bytearray(b"".join(rng.choices(pieces, k=6)))
            for _ in range(rng.randrange(4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            client = await RawClient.connect(port)
            client.writer.write(bytes(data[: rng.randrange(len(data) + 1)]) + rng.randbytes(rng.randrange(30)))
            client.writer.write_eof()
            await client.ended_with()
            client.close()
        assert await channel.unary_unary(f"/{SERVICE}/Unary")(b"still here", timeout=5) == b"still here"
        assert len(running._connections) == 1
        assert running._incomplete_bytes == 0


async def test_more_than_a_streams_window_is_refused() -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.writer.write(begin(1, head("Slow")) + body(1, b"one", flags=0))
        client.writer.write(b"".join(body(1, bytes(16_000), flags=0) for _ in range(270)))
        assert await client.ended_with() == Code.FLOW_CONTROL_ERROR


@pytest.mark.parametrize(
    "frame", [frames.frame(frames.PING, 0, 0, bytes(8)), frames.settings({}), frames.frame(frames.DATA, 0, 1)]
)
async def test_a_flood_of_frames_that_do_nothing_is_cut_off(frame: bytes) -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.writer.write(begin(1))
        client.writer.write(frame * 1_001)
        assert await client.ended_with() == Code.ENHANCE_YOUR_CALM


async def test_calls_begun_and_reset_at_once_are_bounded() -> None:
    async with serving() as (running, _, port):
        client = await RawClient.connect(port)
        rounds = Limits().work_per_second[Work.RESET] + 1
        client.writer.write(b"".join(begin(n) + frames.rst_stream(n, Code.CANCEL) for n in range(1, 2 * rounds, 2)))
        assert await client.ended_with() == Code.ENHANCE_YOUR_CALM
        await until(lambda: not running._serving)


async def test_requests_that_never_end_are_bounded_in_sum() -> None:
    async with serving(limits=Limits(incomplete_bytes=100_000)) as (running, _, port):
        client = await RawClient.connect(port)
        unfinished = b"\0" + (50_000).to_bytes(4, "big") + bytes(15_000)
        for stream in range(1, 21, 2):
            client.writer.write(begin(stream) + frames.frame(frames.DATA, 0, stream, unfinished))
        flags, stream, block = await client.next_of(frames.HEADERS)
        assert flags & frames.END_STREAM
        assert b"too many large requests" in block.replace(b"%20", b" ")
        assert running._incomplete_bytes <= 100_000
        client.close()


async def test_streams_above_the_limit_are_refused_one_by_one() -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.writer.write(b"".join(begin(stream) for stream in range(1, 2 * 2049, 2)))
        _, stream, payload = await client.next_of(frames.RST_STREAM)
        assert (stream, int.from_bytes(payload, "big")) == (2 * 2048 + 1, Code.REFUSED_STREAM)
        client.writer.write(body(1))
        assert (await client.next_of(frames.HEADERS))[1] == 1
        client.close()


async def test_a_caller_that_is_silent_is_asked_and_then_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.2)
    monkeypatch.setattr(connection, "KEEPALIVE_TIMEOUT_SECONDS", 0.2)
    async with serving() as (running, _, port):
        client = await RawClient.connect(port)
        _, _, payload = await client.next_of(frames.PING)
        client.writer.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        await client.next_of(frames.PING)
        assert await client.ended_with() is None
        assert not running._connections


async def test_frames_with_padding_and_priority_and_in_pieces_are_read() -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        block = head()
        padded = b"\x03" + b"\0\0\0\0\x10" + block[:7] + b"pad"
        data = frames.frame(frames.HEADERS, frames.PADDED | frames.HAS_PRIORITY, 1, padded)
        data += frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[7:])
        data += frames.frame(frames.PRIORITY, 0, 1, bytes(5))
        data += frames.frame(frames.DATA, frames.PADDED, 1, b"\x02\0\0\0pp")
        data += frames.frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\x01\0\x02hip")
        data += frames.frame(0xF0, 0, 0, b"a kind nobody knows")
        for at in range(len(data)):
            client.writer.write(data[at : at + 1])
            await client.writer.drain()
        assert await client.next_of(frames.DATA) == (0, 1, b"\0\0\0\0\x02hi")
        client.close()
