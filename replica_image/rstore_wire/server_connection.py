"""The server's end of a connection: calls begin here and are handed to their servicers."""

from __future__ import annotations

import asyncio
import base64
import binascii
import inspect
import math
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from types import CoroutineType
from typing import Any

import grpc
import structlog

from rstore_wire import frames
from rstore_wire.call import EOF, Aborted, Call, Head
from rstore_wire.connection import LINGER_SECONDS, Connection, plain_address
from rstore_wire.frames import Code, WireError, Work
from rstore_wire.headers import HeaderReader, Headers, headers_problem, timeout_seconds
from rstore_wire.identities import identity
from rstore_wire.messages import ACCEPTED_ENCODINGS
from rstore_wire.service import AuthContext, Service
from rstore_wire.shares import Share
from rstore_wire.stream import Stream

_log = structlog.get_logger(__name__)

CONNECTION_WINDOW_BYTES = 16 << 20

_RESERVED = frozenset({"te", "content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"})
_ENCODINGS = frozenset({"identity", "gzip", "deflate"})


class ServerConnection(Connection):
    """A client has connected."""

    def __init__(self, service: Service) -> None:
        super().__init__(
            window_bytes=max(CONNECTION_WINDOW_BYTES, service.stream_window_bytes),
            max_streams=service.limits.streams,
            limits=service.limits,
            on_end=service.connection_ended,
            stream_window_bytes=service.stream_window_bytes,
        )
        self.max_message_bytes = service.max_message_bytes
        self.incomplete_bytes = 0
        self.auth_context: AuthContext = {}
        self.caller: Any = None
        self.share: Share | None = None
        """What all connections of the caller may take together."""
        self._service = service
        self._reader: HeaderReader[Head] = HeaderReader(self._understand)
        self._preface_left = frames.PREFACE
        self._leaving = False
        self._began_at = self._used_at = self.loop.time()
        self._leaves_at = math.inf
        if service.limits.max_age_seconds is not None:
            # Not all that began at once, after a restart, end at once.
            self._leaves_at = self._began_at + service.limits.max_age_seconds * random.uniform(0.9, 1.1)
        self.address = ""
        """IP address of the caller."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the caller's identity from its certificate."""
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            if tls.selected_alpn_protocol() != "h2":
                transport.close()
                return
            self.auth_context = identity(tls.getpeercert())
        self.identify_again()
        peer = transport.get_extra_info("peername")
        self.address = plain_address(peer[0]) if peer else ""
        self._service.connection_began(self)
        super().connection_made(transport)
        self.loop.call_later(self.limits.handshake_seconds, self._drop_silent)

    def _drop_silent(self) -> None:
        if self._preface_left and not self.closing:
            self._service.refusals.add("handshake_timeout", peer=self.peer_name)
            self.abort()
        elif not self.is_welcome and not self.closing:
            self._service.refusals.add("not_welcome", peer=self.peer_name)
            self.leave("nothing is served here to this certificate")
            self.close()

    def data_received(self, data: bytes) -> None:
        """First the preface, then frames."""
        if self._preface_left:
            expected, self._preface_left = self._preface_left[: len(data)], self._preface_left[len(data) :]
            if not data.startswith(expected):
                self._service.refusals.add("not_http2", peer=self.peer_name)
                self.abort()
                return
            data = data[len(expected) :]
        super().data_received(data)

    def is_idle(self, stream: int) -> bool:
        """Whether the stream is newer than any that the client has begun."""
        return stream > self.last_stream

    def failed(self, code: Code, text: str) -> None:
        """Counts the refusal by its code."""
        self._service.refusals.add(f"connection_{code.name.lower()}", peer=self.peer_name, text=text)

    def reason_to_end(self, now: float) -> str | None:
        """Its age, or that it is not used; before that the client is notified and begins no more streams."""
        if self._leaves_at <= now:
            self.leave("the connection has reached its age")
            if not self.streams:
                return "age"
            if now - self._leaves_at >= self.limits.age_grace_seconds:
                return "age, with streams"
        if not self.streams and now - self._used_at >= self.limits.idle_seconds:
            self.leave("the connection is idle")
            return "idle"
        return None

    @property
    def is_welcome(self) -> bool:
        """Whether there is anything that the caller may call."""
        return self._service.welcome(self.caller)

    @property
    def idle_since(self) -> float:
        """When its last stream ended, in the loop's time; infinity while it has streams."""
        return math.inf if self.streams else self._used_at

    def forget(self, stream: Stream) -> None:
        """Forgets a stream that has ended on both sides."""
        streams = self.streams
        streams.pop(stream.id, None)
        if self._blocked:
            self._blocked.pop(stream.id, None)
        self._service.call_closed(stream)  # type: ignore[arg-type]  # every stream of a server is a call
        if not streams:
            self._used_at = self.received_at

    def note_pending(self, more_bytes: int) -> None:
        """Counts it for all connections, too."""
        self.pending_bytes += more_bytes
        self._service.note_unread(more_bytes)

    def watch_time_of(self, call: Call) -> None:
        """Has the call's ``expire`` called soon after it is due."""
        self._service.watch_time_of(call)

    def may_answer(self, call: Call) -> bool:
        """Whether one more answer may be queued."""
        if self.is_unread:
            self.refuse_call(call, "answers_not_read")
            return False
        self._service.make_room_for_answers()
        return not self.closing

    def refuse_call(self, call: Call, reason: str) -> None:
        """Counts that the call is given up for ``reason``."""
        self._service.refusals.add(reason, peer=self.peer_name, method=call.head.path)

    def headers_received(self, stream: int, block: bytes, *, end: bool) -> None:
        """A call begins, or a caller ends its half with headers."""
        head = self._reader.read(block)
        open_stream = self.streams.get(stream)
        if open_stream is not None:
            if open_stream.ended_there:
                self.spend(Work.OTHER)
                open_stream.refuse(Code.STREAM_CLOSED)
            elif not end:
                raise WireError(Code.PROTOCOL_ERROR, "headers in the middle of a stream")
            else:
                open_stream.data_received(b"", end=True)
            return
        if not stream & 1:
            raise WireError(Code.PROTOCOL_ERROR, "a stream of an even number")
        if stream <= self.last_stream:
            self.spend(Work.REFUSED)  # the end of one that was reset a moment ago
            return
        self.last_stream = stream
        if (
            head.malformed
            or self._leaving
            or len(self.streams) >= self.limits.streams
            or ((self.pending_bytes or self.congested) and self.is_unread)
        ):
            self._refuse_stream(stream, head)
            return
        self._begin_call(stream, head, end=end)

    def _refuse_stream(self, stream: int, head: Head) -> None:
        self.spend(Work.REFUSED)
        if head.malformed:
            reason, code = "malformed_headers", Code.PROTOCOL_ERROR
        else:
            reason = "leaving" if self._leaving else "answers_not_read" if self.is_unread else "streams"
            code = Code.REFUSED_STREAM
        self._service.refusals.add(reason, peer=self.peer_name, text=head.malformed)
        self.write(frames.rst_stream(stream, code))

    def _begin_call(self, stream: int, head: Head, *, end: bool) -> None:
        call = Call(self, stream, head)
        self.streams[stream] = call
        has_room = self._service.call_opened(call)
        exceeds_share = self.share is not None and self.share.is_exceeded
        if has_room and head.takes_one_request and not end and not exceeds_share:
            return  # nearly always: the request comes next
        if end:
            call.ended_there = True
        if head.http_status != 200:
            self.spend(Work.REFUSED)
            call.end_without_status(head.http_status)
        elif head.refusal is not None:
            self.spend(Work.REFUSED)
            call.end(*head.refusal)
        elif not has_room:
            self.spend(Work.REFUSED)
            self.refuse_call(call, "calls")
            call.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
        elif exceeds_share:
            self.spend(Work.REFUSED)
            self.refuse_call(call, "calls_of_client")
            call.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests of this client")
        elif head.handler.request_streaming:
            self._run(call, _serve_stream(self._service, call, _requests(call)))
        elif end:
            call.end(grpc.StatusCode.INTERNAL, "one request is expected")

    def begin(self, call: Call, message: bytes) -> None:
        """The request of a call that has one is complete."""
        serve = _serve_stream if call.head.handler.response_streaming else _serve_unary
        self._run(call, serve(self._service, call, message))

    def _run(self, call: Call, work: Coroutine[Any, Any, None]) -> None:
        call.task = self.loop.create_task(work)
        call.due = math.inf if call.deadline is None else call.deadline  # its caller has done its part

    def note_incomplete(self, call: Call, size: int) -> None:
        """How much of a request has come that is not complete; too much of it in all calls together is refused."""
        if not size:
            self._service.release(call)
        elif not self._service.has_room_for(call, size):
            self.refuse_call(call, "incomplete_requests")
            call.cancel(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many large requests at once")

    def leave(self, reason: str) -> None:
        """Takes no new calls, and notifies the client, which then uses another connection."""
        if not self._leaving and not self.closing:
            self._leaving = True
            self.write(frames.goaway(self.last_stream, Code.NO_ERROR, reason))
            self.flush()

    def identify_again(self) -> None:
        """Takes the caller's identity from its certificate anew."""
        self.caller = self._service.identify(self.auth_context)
        if self.share is not None:
            self.share.connections.discard(self)
        self.share = self._service.share_of(self)
        self._reader.understand_again()

    def shut_out(self, reason: str) -> None:
        """Ends every stream, its servicer's work too, and closes without waiting for what the client has not read."""
        self.leave(reason)
        for stream in list(self.streams.values()):
            stream.connection_lost()
            self.forget(stream)
        transport = self._transport
        self.close()
        if transport is not None:
            self.loop.call_later(LINGER_SECONDS, transport.abort)

    # ------------------------------------------------------------------ headers

    def _understand(self, headers: Headers) -> Head:
        malformed = headers_problem(headers)
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
        handler, refusal = self._service.find(path, self.caller)
        timeout = None
        try:
            if "grpc-timeout" in fields:
                timeout = timeout_seconds(fields["grpc-timeout"])
        except ValueError:
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
        return Head(path, tuple(metadata), timeout, encoding, handler, refusal, status, malformed)


def _binary(value: bytes) -> list[bytes]:
    decoded = []
    for part in value.split(b","):
        try:
            decoded.append(base64.b64decode(part + b"=" * (-len(part) % 4)))
        except binascii.Error:
            decoded.append(b"")
    return decoded


# ---------------------------------------------------------------------- serving
# A task that is cancelled before its first step never gets into these; whoever cancels a call ends it, too.


async def _serve_unary(service: Service, call: Call, message: bytes) -> None:
    service.call_began(call)
    handler = call.head.handler
    try:
        response = handler.unary_unary(call.decoded(message), call)
        if type(response) is CoroutineType or inspect.isawaitable(response):
            response = await response
        call.respond(handler.response_serializer(response))
    except Aborted:
        return
    except Exception as error:
        _failed(call, error)
    finally:
        service.call_ended(call)


async def _serve_stream(service: Service, call: Call, request: bytes | AsyncIterator[Any]) -> None:
    service.call_began(call)
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
    finally:
        service.call_ended(call)


async def _requests(call: Call) -> AsyncIterator[Any]:
    while (message := await call.read()) is not EOF:
        yield message


def _failed(call: Call, error: Exception) -> None:
    if not isinstance(error, NotImplementedError):
        _log.error("call_failed", method=call.head.path, exc_info=error)
    call.end_after_error(error)
