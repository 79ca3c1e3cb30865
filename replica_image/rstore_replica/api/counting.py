"""Counts what the methods of a port receive and send: messages of streams, how streams end, bytes.

Unary calls are counted where they are answered (``calls.py``), their bytes here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

import grpc

from rstore_replica.call_metrics import CallMetrics, StreamMetrics, Traffic, name_of

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]
Metadata = Sequence[tuple[str, str | bytes]]
Behaviour = Callable[[Any, Any], Awaitable[None]]


class Registry(Protocol):
    """What services are registered with."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any], /) -> None:
        """Serves these methods of a service."""

    def add_generic_rpc_handlers(self, handlers: Sequence[Any], /) -> None:
        """Serves handlers of any kind."""


class CountedRegistry:
    """Registers services with a server so that their calls are counted.

    The JSON gateway decodes in threads, so that an update of a counter may be lost there.
    """

    def __init__(self, server: Registry, metrics: CallMetrics) -> None:
        self._server = server
        self._metrics = metrics

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """As of the server."""
        counted = {name: self._counted(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, counted)

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """As of the server."""
        self._server.add_generic_rpc_handlers(handlers)

    def _counted(self, path: str, handler: Any) -> Any:
        traffic = self._metrics.client_traffic
        decode, encode = handler.request_deserializer, handler.response_serializer
        if not handler.response_streaming:
            return handler._replace(
                request_deserializer=_counting_decode(decode, traffic),
                response_serializer=_counting_encode(encode, traffic),
            )
        field = "stream_stream" if handler.request_streaming else "unary_stream"
        behaviour = getattr(handler, field)
        if inspect.isasyncgenfunction(behaviour):
            return handler  # reflection, whose answers are yielded
        stream = self._metrics.of_stream(path, "bidi_stream" if handler.request_streaming else "server_stream")
        return handler._replace(
            request_deserializer=_counting_decode(decode, traffic, stream),
            response_serializer=_counting_encode(encode, traffic, stream),
            **{field: _counting_stream(behaviour, traffic, stream)},
        )


def _counting_decode(decode: Decode, traffic: Traffic, stream: StreamMetrics | None = None) -> Decode:
    def counting(data: bytes) -> Any:
        traffic.received_bytes += len(data)
        if stream is not None:
            stream.received += 1
        return decode(data)

    return counting


def _counting_encode(encode: Encode, traffic: Traffic, stream: StreamMetrics | None = None) -> Encode:
    def counting(message: Any) -> bytes:
        data = encode(message)
        traffic.sent_bytes += len(data)
        if stream is not None:
            stream.sent += 1
        return data

    return counting


def _counting_stream(behaviour: Behaviour, traffic: Traffic, stream: StreamMetrics) -> Behaviour:
    async def counting(requests: Any, context: Any) -> None:
        counted = _Context(context, traffic, stream)
        status = grpc.StatusCode.OK
        stream.started += 1
        try:
            await behaviour(requests, counted)
        except asyncio.CancelledError:
            status = counted.status or grpc.StatusCode.CANCELLED
            raise
        except Exception:
            status = counted.status or grpc.StatusCode.UNKNOWN
            raise
        finally:
            stream.end(name_of(status))

    return counting


class _Context:
    """The context of a stream, which counts what is sent past the encoder, and knows how the stream was ended here."""

    __slots__ = ("_context", "_stream", "_traffic", "status")

    def __init__(self, context: Any, traffic: Traffic, stream: StreamMetrics) -> None:
        self._context = context
        self._traffic = traffic
        self._stream = stream
        self.status: grpc.StatusCode | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def offer(self, message: bytes) -> bool:
        """As of :class:`rstore_wire.call.Call`."""
        if not self._context.offer(message):
            return False
        self._traffic.sent_bytes += len(message)
        self._stream.sent += 1
        return True

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """As of :class:`rstore_wire.call.Call`."""
        self.status = code
        await self._context.abort(code, details, trailing_metadata)
        raise AssertionError("abort raises")
