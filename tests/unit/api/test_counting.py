"""What the calls of a port come to in its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import pytest
from rstore_replica.api.counting import CountedRegistry
from rstore_replica.call_metrics import CallMetrics
from rstore_wire.call import Aborted


class Context:
    """A stream's context that keeps what is sent."""

    def __init__(self, *, has_room: bool = True) -> None:
        self.has_room = has_room
        self.sent: list[Any] = []
        self.encode: Any = None

    def offer(self, message: bytes) -> bool:
        if self.has_room:
            self.sent.append(message)
        return self.has_room

    async def write(self, message: Any) -> None:
        self.sent.append(self.encode(message))

    async def abort(self, _code: grpc.StatusCode, _details: str, _metadata: Any) -> None:
        raise Aborted

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


class Server:
    """Keeps what is registered with it."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self.handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        raise AssertionError(handlers)


def registered(handler: Any) -> tuple[Any, CallMetrics]:
    server, metrics = Server(), CallMetrics()
    CountedRegistry(server, metrics).add_registered_method_handlers("s.S", {"M": handler})
    return server.handlers["/s.S/M"], metrics


def upper(data: bytes) -> str:
    return data.decode().upper()


async def test_the_bytes_of_a_unary_call_are_counted() -> None:
    async def echo(request: str, _context: Any) -> str:
        return request * 2

    handler, metrics = registered(grpc.unary_unary_rpc_method_handler(echo, upper, str.encode))
    answer = await handler.unary_unary(handler.request_deserializer(b"abc"), Context())
    assert handler.response_serializer(answer) == b"ABCABC"
    assert (metrics.client_traffic.received_bytes, metrics.client_traffic.sent_bytes) == (3, 6)


async def serve(behaviour: Any, context: Context, requests: Sequence[bytes] = ()) -> CallMetrics:
    """Returns the metrics after one call with these requests."""
    handler, metrics = registered(grpc.stream_stream_rpc_method_handler(behaviour, upper, str.encode))
    context.encode = handler.response_serializer

    async def decoded() -> Any:
        for request in requests:
            yield handler.request_deserializer(request)

    await asyncio.gather(handler.stream_stream(decoded(), context), return_exceptions=True)
    return metrics


async def test_the_messages_of_a_stream_are_counted() -> None:
    async def echo(requests: Any, context: Any) -> None:
        async for request in requests:
            await context.write(request)
        assert context.offer(b"raw")
        assert context.peer()

    context = Context()
    metrics = await serve(echo, context, [b"a", b"bc"])
    assert context.sent == [b"A", b"BC", b"raw"]
    stream = metrics.of_stream("/s.S/M", "")
    assert (stream.kind, stream.started, stream.received, stream.sent) == ("bidi_stream", 1, 2, 3)
    assert stream.ended == {"OK": 1}
    assert (metrics.client_traffic.received_bytes, metrics.client_traffic.sent_bytes) == (3, 6)


async def test_what_was_not_sent_for_want_of_room_is_not_counted() -> None:
    async def offer(_requests: Any, context: Any) -> None:
        assert not context.offer(b"raw")

    metrics = await serve(offer, Context(has_room=False))
    assert (metrics.of_stream("/s.S/M", "").sent, metrics.client_traffic.sent_bytes) == (0, 0)
    assert metrics.of_stream("/s.S/M", "").ended == {"OK": 1}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "PermissionDenied"),
        (asyncio.CancelledError(), "Canceled"),
        (ValueError(), "Unknown"),
    ],
)
async def test_how_a_stream_ended_is_counted(error: grpc.StatusCode | BaseException, status: str) -> None:
    async def fail(_requests: Any, context: Any) -> None:
        if isinstance(error, BaseException):
            raise error
        await context.abort(error, "no")

    metrics = await serve(fail, Context())
    assert metrics.of_stream("/s.S/M", "").ended == {"OK": 0, status: 1}
