"""A server of every kind of method over plaintext, and raw connections to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, islice
from typing import Any

import grpc
from rstore_api.listening import listening_socket
from rstore_wire import frames
from rstore_wire.server import Server

SERVICE = "test.Echo"
MAX_MESSAGE_BYTES = 8 << 20


async def until(condition: Any) -> None:
    """Returns once the condition holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.01)


class Echo:
    """Answers with what it is sent; messages are bytes."""

    HUGE_BYTES = 8 << 20

    def __init__(self) -> None:
        self.calls = 0
        self.queued_bytes = 0
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()
        self.seen: Any = None

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        self.seen = context
        return request

    async def large(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        return bytes(1 << 20)

    async def huge(self, request: bytes, context: Any) -> bytes:
        return bytes(self.HUGE_BYTES)

    async def verbose(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "ä" * 20_000)
        return b""

    async def slow(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def refuse(self, request: bytes, context: Any) -> bytes:
        trailing = (("why", "because"), ("proof-bin", b"\x00\xff"))
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "größer als 100 %", trailing)
        return b""

    async def broken(self, request: bytes, context: Any) -> bytes:
        raise RuntimeError(request.decode())

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self.started.set()
        try:
            async for request in requests:
                yield request
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def stuck(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Reads nothing."""
        self.started.set()
        await self.release.wait()
        async for request in requests:
            yield request

    async def many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        count, size = map(int, request.split())
        for number in range(count):
            yield number.to_bytes(4, "big") + bytes(size)

    async def offered(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """Sends messages of 64 KiB, as many as there is room for; then, once there is room again, the last one."""
        while context.offer(bytes(1 << 16)):
            self.calls += 1
        self.started.set()
        await context.wait_for_room()
        assert context.offer(b"last")

    async def offered_each(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """Sends numbers, each behind ``<`` and before an end of the size that is asked for, as many as there is room
        for; then, once there is room again, a hundred more.
        """
        after = bytes(int(await anext(requests)))
        numbers = map(str.encode, map(str, count()))
        while (sent := context.offer_each(b"<", list(islice(numbers, 1000)), after)) == 1000:
            self.calls += sent
        self.calls += sent
        self.queued_bytes = context.connection.pending_bytes
        await context.wait_for_room()
        some = [b"%d" % number for number in range(self.calls, self.calls + 100)]
        assert context.offer_each(b"<", some, after) == 100

    async def collect(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([request async for request in requests])

    def handlers(self) -> dict[str, Any]:
        """As generated code makes them."""
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary, _same, _same),
            "Large": grpc.unary_unary_rpc_method_handler(self.large, _same, _same),
            "Huge": grpc.unary_unary_rpc_method_handler(self.huge, _same, _same),
            "Verbose": grpc.unary_unary_rpc_method_handler(self.verbose, _same, _same),
            "Undecodable": grpc.stream_stream_rpc_method_handler(self.chat, _undecodable, _same),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow, _same, _same),
            "Refuse": grpc.unary_unary_rpc_method_handler(self.refuse, _same, _same),
            "Broken": grpc.unary_unary_rpc_method_handler(self.broken, _same, _same),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat, _same, _same),
            "Stuck": grpc.stream_stream_rpc_method_handler(self.stuck, _same, _same),
            "Many": grpc.unary_stream_rpc_method_handler(self.many, _same, _same),
            "Offered": grpc.stream_stream_rpc_method_handler(self.offered, _same, _same),
            "OfferedEach": grpc.stream_stream_rpc_method_handler(self.offered_each, _same, _same),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect, _same, _same),
        }


def _same(data: bytes) -> bytes:
    return data


def _undecodable(data: bytes) -> bytes:
    raise ValueError(f"no message: {data!r}")


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[Server, Echo, int]]:
    """A server, its servicer and its port on 127.0.0.1."""
    echo = Echo()
    server = Server(max_message_bytes=MAX_MESSAGE_BYTES, **options)
    server.add_registered_method_handlers(SERVICE, echo.handlers())
    listener = listening_socket("127.0.0.1", 0, backlog=8)
    server.add_listener(listener, None)
    port = listener.getsockname()[1]
    await server.start()
    try:
        yield server, echo, port
    finally:
        await server.stop(None)


@asynccontextmanager
async def channel_to(port: int, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
    """gRPC's own client."""
    settings = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"ipv4:127.0.0.1:{port}", options=settings, **options) as channel:
        yield channel


class RawClient:
    """Frames by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, first: bytes = frames.PREFACE) -> RawClient:
        """With an empty SETTINGS frame behind the preface."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first + (frames.settings({}) if first == frames.PREFACE else b""))
        return cls(reader, writer)

    async def frame(self) -> tuple[int, int, int, bytes]:
        """(kind, flags, stream, payload) of the next frame. Raises IncompleteReadError at the end."""
        head = await asyncio.wait_for(self.reader.readexactly(9), 10)
        high, low, kind, flags, stream = frames.FRAME_HEADER.unpack(head)
        return kind, flags, stream, await asyncio.wait_for(self.reader.readexactly(high << 8 | low), 10)

    async def next_of(self, kind: int) -> tuple[int, int, bytes]:
        """(flags, stream, payload) of the next frame of a kind."""
        while True:
            found, flags, stream, payload = await self.frame()
            if found == kind:
                return flags, stream, payload

    async def ended_with(self) -> int | None:
        """The code of the GOAWAY that the connection ends with; None when it ends without."""
        code = None
        try:
            while True:
                kind, _, _, payload = await self.frame()
                if kind == frames.GOAWAY:
                    code = int.from_bytes(payload[4:8], "big")
        except (asyncio.IncompleteReadError, ConnectionError):
            return code

    def close(self) -> None:
        """At once."""
        self.writer.close()
