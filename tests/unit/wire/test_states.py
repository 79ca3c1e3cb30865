"""The states of a stream, without a network: bytes into a server's connection, bytes out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_wire import frames
from rstore_wire.frames import Code
from rstore_wire.headers import block
from rstore_wire.limits import Limits
from rstore_wire.messages import prefixed
from rstore_wire.server import Server
from rstore_wire.server_connection import ServerConnection
from rstore_wire.stream import State, Stream
from unit.wire.wire_servers import MAX_MESSAGE_BYTES, SERVICE, Echo

NAMES = dict(enumerate(("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS")))
OPEN, LOCAL, REMOTE, CLOSED = State.OPEN, State.HALF_CLOSED_LOCAL, State.HALF_CLOSED_REMOTE, State.CLOSED
LEGAL = {OPEN: {LOCAL, REMOTE, CLOSED}, LOCAL: {CLOSED}, REMOTE: {CLOSED}, CLOSED: set()}
"""RFC 9113, section 5.1: a half that has ended does not begin again."""


class Network(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.sizes: list[int] = []
        self.reading = True
        self.takes_bytes = frames.MAX_WINDOW
        self.on_full: Callable[[], None] = lambda: None

    def write(self, data: Any) -> None:
        self.sent += data
        self.sizes.append(len(data))
        self.takes_bytes -= len(data)
        if self.takes_bytes <= 0:
            self.on_full()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


def sent_frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each."""
    at = 0
    while at < len(data):
        high, low, kind, flags, stream = frames.FRAME_HEADER.unpack_from(data, at)
        at += frames.FRAME_HEADER_BYTES
        yield kind, flags, stream, data[at : at + (high << 8 | low)]
        at += high << 8 | low


class Streams(dict[int, Stream]):
    """Keeps the newest, which may have ended before anybody looks."""

    newest: Stream | None = None

    def __setitem__(self, number: int, stream: Stream) -> None:
        super().__setitem__(number, stream)
        self.newest = stream


class Talk:
    """A connection whose preface is through, and its newest stream."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.echo = Echo()
        server = Server(max_message_bytes=MAX_MESSAGE_BYTES, limits=limits)
        server.add_registered_method_handlers(SERVICE, self.echo.handlers())
        self.connection, self.network = ServerConnection(server), Network()
        self._streams = self.connection.streams = Streams()
        self.network.on_full = self.connection.pause_writing
        self.connection.connection_made(self.network)
        self.connection.data_received(frames.PREFACE + frames.settings({}))
        self.connection.flush()
        self.network.sent = b""
        self.network.sizes.clear()

    def receive(self, data: bytes) -> None:
        self.connection.data_received(data)

    @property
    def stream(self) -> Stream | None:
        return self._streams.newest

    async def answered(self) -> list[str]:
        """What has been sent once every task that can go on has done so."""
        for _ in range(20):
            await asyncio.sleep(0)
        self.connection.flush()
        data, self.network.sent = self.network.sent, b""
        return [
            NAMES.get(kind, "GOAWAY" if kind == frames.GOAWAY else "?")
            + ("+END" if kind in (frames.DATA, frames.HEADERS) and flags & frames.END_STREAM else "")
            for kind, flags, _, _ in sent_frames(data)
            if kind not in (frames.WINDOW_UPDATE, frames.SETTINGS)
        ]

    @property
    def state(self) -> State:
        assert self.stream is not None
        return self.stream.state

    def end(self) -> None:
        self.connection.connection_lost(None)


def head(method: str, *, end: bool = False) -> bytes:
    headers = [
        (b":method", b"POST"),
        (b":path", f"/{SERVICE}/{method}".encode()),
        (b"content-type", b"application/grpc"),
    ]
    return frames.frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if end else 0), 1, block(headers))


def data(payload: bytes = b"", *, end: bool = False) -> bytes:
    return frames.frame(frames.DATA, frames.END_STREAM if end else 0, 1, payload)


RESET = frames.rst_stream(1, Code.CANCEL)
TRAILERS = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, block([(b"x", b"y")]))
HEADERS_AGAIN = head("Chat")
ONE = prefixed(b"hello")
ZERO_WINDOW = frames.window_update(1, 0)
OVERFLOW = frames.window_update(1, frames.MAX_WINDOW)
SHORT_PRIORITY = frames.frame(frames.PRIORITY, 0, 1, b"x")


def opened(talk: Talk) -> None:
    talk.receive(head("Chat"))


def half_closed(talk: Talk) -> None:
    talk.receive(head("Slow") + data(ONE, end=True))


def ended(talk: Talk) -> None:
    talk.receive(head("Unary") + data(ONE, end=True))


def refused(talk: Talk) -> None:
    talk.receive(head("Missing"))


TABLE: list[tuple[Callable[[Talk], None], bytes, list[str], State]] = [
    (opened, b"", [], OPEN),
    (opened, data(ONE), ["HEADERS", "DATA"], OPEN),
    (opened, data(end=True), ["HEADERS", "HEADERS+END"], CLOSED),
    (opened, data(ONE, end=True), ["HEADERS", "DATA", "HEADERS+END"], CLOSED),
    (opened, TRAILERS, ["HEADERS", "HEADERS+END"], CLOSED),
    (opened, RESET, [], CLOSED),
    (opened, HEADERS_AGAIN, ["GOAWAY"], OPEN),
    (opened, data(b"\0\0\0", end=True), ["HEADERS+END"], CLOSED),  # not a whole message
    (half_closed, b"", [], REMOTE),
    (half_closed, RESET, [], CLOSED),
    (half_closed, data(ONE), ["RST_STREAM"], CLOSED),
    (half_closed, data(ONE, end=True), ["RST_STREAM"], CLOSED),
    (half_closed, TRAILERS, ["RST_STREAM"], CLOSED),
    (half_closed, HEADERS_AGAIN, ["RST_STREAM"], CLOSED),
    (half_closed, ZERO_WINDOW, ["RST_STREAM"], CLOSED),
    (half_closed, OVERFLOW, ["RST_STREAM"], CLOSED),
    (half_closed, SHORT_PRIORITY, ["RST_STREAM"], CLOSED),
    (opened, ZERO_WINDOW, ["RST_STREAM"], CLOSED),
    (refused, b"", ["HEADERS+END"], CLOSED),
    (refused, data(ONE, end=True), ["HEADERS+END"], CLOSED),
    (ended, b"", ["HEADERS", "DATA", "HEADERS+END"], CLOSED),
    (ended, RESET, ["HEADERS", "DATA", "HEADERS+END"], CLOSED),
    (ended, data(ONE), ["HEADERS", "DATA", "HEADERS+END"], CLOSED),
    (ended, TRAILERS, ["HEADERS", "DATA", "HEADERS+END"], CLOSED),
]


@pytest.mark.parametrize(("before", "received", "answers", "after"), TABLE)
async def test_a_state_and_what_comes_give_the_answer_and_the_next_state(
    before: Callable[[Talk], None], received: bytes, answers: list[str], after: State
) -> None:
    talk = Talk()
    before(talk)
    first = await talk.answered()
    if received:
        talk.receive(received)
    assert first + await talk.answered() == answers
    assert talk.state is after
    assert (1 in talk.connection.streams) == (after is not CLOSED)
    talk.end()


async def test_a_servicer_that_ends_early_closes_the_callers_half_too() -> None:
    talk = Talk()
    opened(talk)
    call = talk.stream
    assert isinstance(call, Stream)
    await talk.answered()
    call.end_with(b"")
    assert talk.state is LOCAL
    talk.receive(data(ONE))
    assert talk.state is LOCAL
    talk.end()
    assert talk.state is CLOSED


INPUTS = [head("Chat"), head("Unary"), data(ONE), data(ONE, end=True), data(b"\0"), TRAILERS, RESET, head("Slow")]


@settings(max_examples=150)
@given(st.lists(st.sampled_from(INPUTS), max_size=8), st.booleans())
def test_no_sequence_of_frames_leads_to_a_state_that_is_not_legal(received: list[bytes], apart: bool) -> None:
    async def run() -> None:
        talk = Talk()
        last: State | None = None
        for one in received:
            talk.receive(one)
            if apart:
                await talk.answered()
            if talk.stream is not None:
                state = talk.state
                assert last is None or state is last or state in LEGAL[last]
                assert (talk.connection.streams.get(1) is talk.stream) == (state is not CLOSED)
                last = state
        talk.end()
        assert not talk.connection.streams
        assert talk.stream is None or talk.state is CLOSED
        await talk.answered()

    asyncio.run(run())
