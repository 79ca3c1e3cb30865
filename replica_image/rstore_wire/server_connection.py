"""The server's end of a connection: calls begin here and are handed to their servicers."""

from __future__ import annotations

import asyncio
import base64
import binascii
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import grpc
import structlog

from rstore_wire import frames
from rstore_wire.call import EOF, Aborted, AuthContext, Call, Head, Refusal
from rstore_wire.connection import Connection
from rstore_wire.frames import Code, WireError
from rstore_wire.headers import HeaderReader, Headers
from rstore_wire.messages import ACCEPTED_ENCODINGS

_log = structlog.get_logger(__name__)

CONNECTION_WINDOW_BYTES = 16 << 20
MAX_STREAMS = 2048
"""Calls under way on one connection."""

_TIMEOUT_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_RESERVED = frozenset({"te", "content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"})
_ENCODINGS = frozenset({"identity", "gzip", "deflate"})


class Service(Protocol):
    """What is served on a connection: the methods, and the limits that all connections share."""

    max_message_bytes: int
    stream_window_bytes: int

    @property
    def is_full(self) -> bool:
        """Whether as many calls are under way as may be."""

    def find(self, path: str, auth: AuthContext) -> tuple[Any, Refusal | None]:
        """The handler of a method for this caller, or why there is none."""

    def call_began(self, task: asyncio.Task[None], call: Call) -> None:
        """Watches over a call that a servicer is at work on."""

    def has_room_for(self, call: Call, incomplete_bytes: int) -> bool:
        """Notes how much of a request has come so far; False when it is too much with all others."""

    def release(self, call: Call) -> None:
        """Takes back what was noted of the call's request."""

    def connection_began(self, connection: ServerConnection) -> None:
        """Notes a connection that is up."""

    def connection_ended(self, connection: ServerConnection) -> None:
        """Forgets a connection that is gone."""


class ServerConnection(Connection):
    """A client has connected."""

    def __init__(self, service: Service) -> None:
        super().__init__(
            window_bytes=max(CONNECTION_WINDOW_BYTES, service.stream_window_bytes),
            max_streams=MAX_STREAMS,
            on_end=service.connection_ended,
            stream_window_bytes=service.stream_window_bytes,
        )
        self.max_message_bytes = service.max_message_bytes
        self.auth_context: AuthContext = {}
        self._service = service
        self._reader: HeaderReader[Head] = HeaderReader(self._understand)
        self._preface_left = frames.PREFACE
        self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is over: who is it?"""
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            if tls.selected_alpn_protocol() != "h2":
                transport.close()
                return
            self.auth_context = _identity(tls.getpeercert())
        self._service.connection_began(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """First the preface, then frames."""
        if self._preface_left:
            expected, self._preface_left = self._preface_left[: len(data)], self._preface_left[len(data) :]
            if not data.startswith(expected):
                self.abort()
                return
            data = data[len(expected) :]
        super().data_received(data)

    def is_idle(self, stream: int) -> bool:
        """See the base class."""
        return stream > self.last_stream

    def headers_received(self, stream: int, block: bytes, *, end: bool) -> None:
        """A call begins, or a caller ends its half with headers."""
        head = self._reader.read(block)
        known = self.streams.get(stream)
        if known is not None:
            if not end:
                raise WireError(Code.PROTOCOL_ERROR, "headers in the middle of a stream")
            known.data_received(b"", end=True)
            return
        if not stream & 1:
            raise WireError(Code.PROTOCOL_ERROR, "a stream of an even number")
        if stream <= self.last_stream:
            return  # the end of one that was reset a moment ago
        self.last_stream = stream
        if self._leaving or len(self.streams) >= MAX_STREAMS or self.is_unread:
            self.write(frames.rst_stream(stream, Code.REFUSED_STREAM))
            return
        self._begin_call(stream, head, end=end)

    def _begin_call(self, stream: int, head: Head, *, end: bool) -> None:
        call = Call(self, stream, head)
        self.streams[stream] = call
        if end:
            call.ended_there = True
        if head.http_status != 200:
            call.end_without_status(head.http_status)
        elif head.refusal is not None:
            call.end(*head.refusal)
        elif self._service.is_full:
            call.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
        elif head.handler.request_streaming:
            self._run(call, _serve_stream(call, _requests(call)))
        elif end:
            call.end(grpc.StatusCode.INTERNAL, "one request is expected")

    def begin(self, call: Call, message: bytes) -> None:
        """The request of a call that has one is complete."""
        if call.head.handler.response_streaming:
            self._run(call, _serve_stream(call, message))
        else:
            self._run(call, _serve_unary(call, message))

    def _run(self, call: Call, work: Any) -> None:
        task = call.task = self.loop.create_task(work)
        self._service.call_began(task, call)

    def note_incomplete(self, call: Call, size: int) -> None:
        """How much of a request has come that is not complete; too much of it in all calls together is refused."""
        if not size:
            self._service.release(call)
        elif not self._service.has_room_for(call, size):
            call.cancel(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many large requests at once")

    def leave(self) -> None:
        """Takes no new calls; the client is told to go elsewhere."""
        if not self._leaving and not self.closing:
            self._leaving = True
            self.write(frames.goaway(self.last_stream, Code.NO_ERROR, "the server is stopping"))

    # ------------------------------------------------------------------ headers

    def _understand(self, headers: Headers) -> Head:
        pseudo: dict[bytes, bytes] = {}
        fields: dict[str, str] = {}
        metadata: list[tuple[str, str | bytes]] = []
        for name, value in headers:
            if name.startswith(b":"):
                pseudo[name] = value
                continue
            key = name.decode("latin-1")
            if key in _RESERVED:
                fields[key] = value.decode("latin-1")
            elif key.endswith("-bin"):
                metadata += [(key, part) for part in _binary(value)]
            else:
                metadata.append((key, value.decode("utf-8", "replace")))
        path = pseudo.get(b":path", b"").decode("latin-1")
        handler, refusal = self._service.find(path, self.auth_context)
        timeout_seconds = None
        try:
            if "grpc-timeout" in fields:
                timeout_seconds = _timeout(fields["grpc-timeout"])
        except (ValueError, KeyError):
            refusal = (grpc.StatusCode.INTERNAL, "a timeout that cannot be read", ())
        encoding = fields.get("grpc-encoding", "identity")
        if encoding not in _ENCODINGS:
            accepted = (("grpc-accept-encoding", ACCEPTED_ENCODINGS),)
            refusal = (grpc.StatusCode.UNIMPLEMENTED, f"compression {encoding!r} is not supported", accepted)
        status = 200
        if pseudo.get(b":method") != b"POST":
            status = 405
        elif not fields.get("content-type", "").startswith("application/grpc"):
            status = 415
        return Head(path, tuple(metadata), timeout_seconds, encoding, handler, refusal, status)


def _timeout(text: str) -> float:
    if not 1 < len(text) <= 9 or not text[:-1].isdecimal():
        raise ValueError(text)
    return int(text[:-1]) * _TIMEOUT_UNITS[text[-1]]


def _binary(value: bytes) -> list[bytes]:
    found = []
    for part in value.split(b","):
        try:
            found.append(base64.b64decode(part + b"=" * (-len(part) % 4)))
        except binascii.Error:
            found.append(b"")
    return found


def _identity(certificate: Any) -> AuthContext:
    """A certificate as gRPC shows it; only what is used here."""
    if not certificate:
        return {}
    names = [
        str(value).encode()
        for relative in certificate.get("subject", ())
        for kind, value in relative
        if kind == "commonName"
    ]
    return {"x509_common_name": names}


# ---------------------------------------------------------------------- serving


async def _serve_unary(call: Call, message: bytes) -> None:
    handler = call.head.handler
    try:
        response = handler.unary_unary(call.decoded(message), call)
        if inspect.isawaitable(response):
            response = await response
        call.respond(handler.response_serializer(response))
    except Aborted:
        return
    except Exception as error:
        _failed(call, error)


async def _serve_stream(call: Call, request: bytes | AsyncIterator[Any]) -> None:
    handler = call.head.handler
    try:
        if isinstance(request, bytes):
            request = call.decoded(request)
        behaviour: Callable[..., Any] = (
            (handler.stream_stream if handler.response_streaming else handler.stream_unary)
            if handler.request_streaming
            else handler.unary_stream
        )
        answers = behaviour(request, call)
        if hasattr(answers, "__aiter__"):
            async for answer in answers:
                await call.write(answer)
        else:
            answer = await answers
            if not handler.response_streaming:
                await call.write(answer)
        call.end(grpc.StatusCode.OK)
    except Aborted:
        return
    except Exception as error:
        _failed(call, error)


async def _requests(call: Call) -> AsyncIterator[Any]:
    while (message := await call.read()) is not EOF:
        yield message


def _failed(call: Call, error: Exception) -> None:
    if not isinstance(error, NotImplementedError):
        _log.error("call_failed", method=call.head.path, exc_info=error)
    call.end_after_error(error)
