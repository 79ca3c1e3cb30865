"""A client's connection that speaks HTTP/1.1 (RFC 9112), as an ``asyncio`` protocol: one request after the other.

``h11`` reads and writes the protocol; here are the bounds, which are those of HTTP/2's connections.
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, cast

import grpc
import h11
import structlog

from rstore_wire.call import Aborted
from rstore_wire.connection import LINGER_SECONDS, WorkBudget, plain_address
from rstore_wire.exchange import Exchange, HttpApplication, Reply, RequestHead
from rstore_wire.frames import WireError, Work
from rstore_wire.headers import MAX_HEADER_LIST_BYTES
from rstore_wire.identities import identity
from rstore_wire.service import AuthContext, Service
from rstore_wire.shares import Share

_log = structlog.get_logger(__name__)

MAX_UNTAKEN_BODY_BYTES = 256 << 10
"""Of a body that is taken in parts: while there is more, nothing is read."""
MAX_WAITING_BYTES = 16 << 10
"""Of requests behind one that is not answered; more end the connection."""
EVENTS_PER_ROUND = 100
"""Taken from one connection in one round of the event loop: each takes about ten times as long as a frame of HTTP/2."""
SMALL_CHUNK_BYTES = 16
"""A smaller part of a body, with more to come, counts as work."""
SEND_BYTES = 256 << 10
"""Handed to the network at a time."""
SILENT_SECONDS, PROBE_SECONDS, PROBES = 10, 5, 3
"""TCP's keepalive: a stream of answers has no pings of its own."""
_TEXT = "text/plain; charset=utf-8"


class Http1Connection(asyncio.Protocol):
    """A client has connected and speaks HTTP/1.1, or says nothing yet."""

    def __init__(self, service: Service, application: HttpApplication) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = service.limits
        self.auth_context: AuthContext = {}
        self.caller: Any = None
        self.share: Share | None = None
        """What all connections of the caller may take together."""
        self.address = ""
        """IP address of the caller."""
        self.peer_name = "unknown"
        self.incomplete_bytes = self.pending_bytes = 0
        self.congested = self.closing = False
        self._service = service
        self._application = application
        self.max_body_bytes = 2 * service.max_message_bytes
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_LIST_BYTES)
        self._work = WorkBudget(service.limits.work_per_second)
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self._out: deque[memoryview] = deque()
        self._waiting_bytes = 0
        """Of what came behind a request that is not answered."""
        self._finished = False
        """Whether the whole answer is queued."""
        self._taking_later = self._reading_paused = self._leaving = self._requested = False
        self._partial_since = math.inf
        """When the first byte of a head came that is not complete, in the loop's time."""
        self._began_at = self._used_at = self.loop.time()
        self._leaves_at = math.inf
        if service.limits.max_age_seconds is not None:
            self._leaves_at = self._began_at + service.limits.max_age_seconds * random.uniform(0.9, 1.1)
        self._looking: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the caller's identity from its certificate."""
        self._transport = cast(asyncio.Transport, transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.auth_context = identity(tls.getpeercert())
        peer = transport.get_extra_info("peername")
        if peer:
            self.address = address = plain_address(peer[0])
            self.peer_name = f"[{address}]:{peer[1]}" if ":" in address else f"{address}:{peer[1]}"
        self.identify_again()
        _probe_silent(transport.get_extra_info("socket"))
        self._service.connection_began(self)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The exchange that is under way ends."""
        self.closing = True
        if self._looking is not None:
            self._looking.cancel()
        self._drop_exchange()
        self._service.connection_ended(self)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self.congested = True

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self.congested = False
        self._flush()
        if self._exchange is not None:
            self._exchange.notice_room()

    def data_received(self, data: bytes) -> None:
        """Takes what is complete; a request behind one that is not answered waits."""
        if self.closing:
            return
        if self._exchange is not None and self._exchange.body_complete:
            self._waiting_bytes += len(data)
        try:
            self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            self._malformed(error)
            return
        if not self._taking_later:
            self._take()

    def eof_received(self) -> bool:
        """The client is done, and so is this side."""
        return False

    # ------------------------------------------------------------------ in

    def _take(self) -> None:
        """Takes events, up to a bound; of very many, the rest in the next round of the loop."""
        self._taking_later = False
        try:
            for _ in range(min(EVENTS_PER_ROUND, self.limits.frames_per_round)):
                if self.closing or self._taking_later:
                    return
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._needs_data()
                    return
                if event is h11.PAUSED:
                    self._bound_what_waits()
                    return
                self._on_event(event)
        except h11.RemoteProtocolError as error:
            self._malformed(error)
            return
        except WireError as error:
            self._service.refusals.add("connection_enhance_your_calm", peer=self.peer_name, text=str(error))
            self.abort()
            return
        self._taking_later = True
        self._pause_reading(paused=True)
        self.loop.call_soon(self._take)

    def _needs_data(self) -> None:
        exchange = self._exchange
        if exchange is None:
            if self._partial_since == math.inf and self._http.trailing_data[0]:
                self._partial_since = self.loop.time()
                self._look()
        elif self._http.they_are_waiting_for_100_continue:
            self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
        untaken = exchange is not None and exchange.task is not None and len(exchange.body) > MAX_UNTAKEN_BODY_BYTES
        self._pause_reading(paused=untaken)

    def _bound_what_waits(self) -> None:
        """Reading goes on behind a request that is not answered, or the client's end would not be noticed."""
        self._pause_reading(paused=False)
        if not self._waiting_bytes:
            self._waiting_bytes = len(self._http.trailing_data[0])
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._service.refusals.add("pipelining", peer=self.peer_name)
            self.abort()

    def body_taken(self) -> None:
        """Reads on, if reading was paused because a body was not taken."""
        exchange = self._exchange
        if exchange is not None and not self.closing:
            self._service.release(exchange)
            if self._reading_paused and not self._taking_later:
                self._taking_later = True
                self.loop.call_soon(self._take)

    def _on_event(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._on_request(event)
        elif isinstance(event, h11.Data):
            if len(event.data) < SMALL_CHUNK_BYTES:
                self._work.spend(Work.OTHER, self.loop.time())
            self._on_body(event.data)
        elif isinstance(event, h11.EndOfMessage) and self._exchange is not None:
            exchange = self._exchange
            exchange.body_complete = True
            self._service.release(exchange)
            exchange.notice_body()
            if exchange.task is None and not exchange.answered:
                self._begin(exchange)
        elif isinstance(event, h11.ConnectionClosed):
            self.close()

    def _on_request(self, request: h11.Request) -> None:
        self._requested, self._partial_since = True, math.inf
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers)
        head = RequestHead(request.method.decode("ascii"), request.target.decode("latin-1"), headers)
        now = self.loop.time()
        exchange = self._exchange = Exchange(self, self._application, head, now)
        if self._leaves_at <= now:
            self._leaving = True
        has_room = self._service.call_opened(exchange)
        if not has_room:
            self.refuse_call(exchange, "calls")
            exchange.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
        elif self.share is not None and self.share.is_exceeded:
            self.refuse_call(exchange, "calls_of_client")
            exchange.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests of this client")
        elif not self.is_welcome:
            self._service.refusals.add("not_welcome", peer=self.peer_name)
            self._leaving = True
            exchange.end(grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
        elif self._application.takes_stream(head):
            self._begin(exchange)

    def _on_body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None or exchange.answered:
            return
        exchange.body += data
        if len(exchange.body) > self.max_body_bytes:
            self.refuse_call(exchange, "request_too_large")
            exchange.cancel(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a request of more than {self.max_body_bytes} bytes")
        elif not self._service.has_room_for(exchange, len(exchange.body)):
            self.refuse_call(exchange, "incomplete_requests")
            exchange.cancel(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many large requests at once")
        else:
            exchange.notice_body()

    def _begin(self, exchange: Exchange) -> None:
        exchange.task = self.loop.create_task(_serve(self._service, self._application, exchange))
        exchange.due = exchange.deadline  # its caller has done its part

    def _pause_reading(self, *, paused: bool) -> None:
        if paused is not self._reading_paused and self._transport is not None:
            self._reading_paused = paused
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _malformed(self, error: h11.RemoteProtocolError) -> None:
        """Answers as Go's server does, and closes."""
        self._service.refusals.add("malformed_http1", peer=self.peer_name, text=str(error))
        status = error.error_status_hint
        exchange, self._leaving = self._exchange, True
        if exchange is None and self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send_whole(Reply(status, b"%d Bad Request" % status, _TEXT), head=False)
            self._flush()
        elif exchange is not None:
            exchange.cancel(grpc.StatusCode.INVALID_ARGUMENT, "the request's body is malformed")
        self._linger()

    # ------------------------------------------------------------------ out

    def send_reply(self, reply: Reply) -> None:
        """Sends a whole answer."""
        exchange = self._exchange
        self._send_whole(reply, head=exchange is not None and exchange.head.method == "HEAD")
        self._finished = True
        self._flush()

    def _send_whole(self, reply: Reply, *, head: bool) -> None:
        headers = [*self._headers(reply.content_type), ("content-length", str(len(reply.body))), *reply.headers]
        data = self._http.send(h11.Response(status_code=reply.status, headers=headers, reason=_reason(reply.status)))
        self._queue(data)
        if not head:
            self._queue(self._http.send(h11.Data(data=reply.body)))
        self._queue(self._http.send(h11.EndOfMessage()))

    def begin_reply(self, status: int, content_type: str) -> None:
        """Sends the head of an answer in parts."""
        headers = self._headers(content_type)
        self._queue(self._http.send(h11.Response(status_code=status, headers=headers, reason=_reason(status))))

    def send_part(self, data: bytes) -> None:
        """Sends one part."""
        if self._exchange is not None and self._exchange.head.method != "HEAD":
            self._queue(self._http.send(h11.Data(data=data)))
        self._flush()

    def finish_reply(self) -> None:
        """Sends the end of an answer in parts."""
        self._queue(self._http.send(h11.EndOfMessage()))
        self._finished = True
        self._flush()

    def _headers(self, content_type: str) -> list[tuple[str, str]]:
        headers = [("date", formatdate(usegmt=True)), ("content-type", content_type)]
        incomplete = self._exchange is not None and not self._exchange.body_complete
        if self._leaving or incomplete:
            headers.append(("connection", "close"))
        return headers

    def _queue(self, data: bytes | None) -> None:
        if data:
            self._out.append(memoryview(data))
            self.note_pending(len(data))

    def _write(self, data: bytes | None) -> None:
        self._queue(data)
        self._flush()

    def _flush(self) -> None:
        """Hands to the network what it takes; an exchange whose answer has left ends."""
        parts: list[memoryview] = []
        size = 0
        while self._out and not self.congested and self._transport is not None:
            view = self._out[0]
            part = view[: SEND_BYTES - size]
            parts.append(part)
            size += len(part)
            if len(part) == len(view):
                self._out.popleft()
            else:
                self._out[0] = view[len(part) :]
            if size >= SEND_BYTES or not self._out:
                self.note_pending(-size)
                self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
                parts, size = [], 0
        if self._finished and not self._out:
            self._exchange_ended()

    def _exchange_ended(self) -> None:
        exchange, self._exchange, self._finished, self._waiting_bytes = self._exchange, None, False, 0
        if exchange is None:
            return
        exchange.ended_here = True
        self._service.call_closed(exchange)
        self._used_at = self.loop.time()
        if self.closing:
            return
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            if self._leaving:
                self.close()
                return
            self._taking_later = True
            self.loop.call_soon(self._take)
            self._look()
        elif self._http.their_state in (h11.MUST_CLOSE, h11.CLOSED, h11.DONE):
            self.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Closes once the client has had time to read: with something unread, a close resets the connection first."""
        if self.closing:
            return
        self.closing = True
        if self._transport is not None:
            self._pause_reading(paused=False)
            try:
                if self._transport.can_write_eof():
                    self._transport.write_eof()
            except OSError:  # the client has gone already
                self.abort()
            else:
                self.loop.call_later(LINGER_SECONDS, self.abort)

    # ------------------------------------------------------------------ budgets

    @property
    def streams(self) -> tuple[Exchange, ...]:
        """The request that is under way."""
        return () if self._exchange is None else (self._exchange,)

    @property
    def is_welcome(self) -> bool:
        """Whether there is anything that the caller may call."""
        return self._service.welcome(self.caller)

    @property
    def idle_since(self) -> float:
        """When its last exchange ended, in the loop's time; infinity while there is one."""
        return self._used_at if self._exchange is None else math.inf

    def note_pending(self, more_bytes: int) -> None:
        """Counts it for all connections, too."""
        self.pending_bytes += more_bytes
        self._service.note_unread(more_bytes)

    def watch_time_of(self, exchange: Exchange) -> None:
        """Has the exchange's ``expire`` called soon after it is due."""
        self._service.watch_time_of(exchange)

    def may_answer(self, exchange: Exchange) -> bool:
        """Whether one more part may be queued."""
        if self.pending_bytes > self.limits.unread_bytes_per_connection:
            self.refuse_call(exchange, "answers_not_read")
            return False
        self._service.make_room_for_answers()
        return not self.closing

    def refuse_call(self, call: Any, reason: str) -> None:
        """Counts that the exchange is given up for ``reason``."""
        self._service.refusals.add(reason, peer=self.peer_name, method=call.head.path)

    # ------------------------------------------------------------------ life

    def _look(self) -> None:
        """Ends a connection that says nothing, does not go on, or is too old; looks again when it may have to."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self.closing:
            return
        now, limits = self.loop.time(), self.limits
        exchange = self._exchange
        if exchange is not None:
            due, reason = self._leaves_at + limits.age_grace_seconds, "age"
        elif self._partial_since < math.inf:
            due, reason = self._partial_since + limits.request_seconds, "request_not_complete"
        elif not self._requested:
            due, reason = self._began_at + limits.handshake_seconds, "handshake_timeout"
        else:
            due, reason = min(self._used_at + limits.idle_seconds, self._leaves_at), "idle"
        if due > now:
            if due < math.inf:
                self._looking = self.loop.call_at(due, self._look)
            return
        if exchange is not None:
            self._leaving = True
            exchange.cancel(grpc.StatusCode.UNAVAILABLE, "the connection has reached its age")
            return
        if reason in ("request_not_complete", "handshake_timeout"):
            self._service.refusals.add(reason, peer=self.peer_name)
        self.close()

    def identify_again(self) -> None:
        """Takes the caller's identity from its certificate anew."""
        self.caller = self._service.identify(self.auth_context)
        if self.share is not None:
            self.share.connections.discard(self)
        self.share = self._service.share_of(self)

    def leave(self, reason: str) -> None:  # noqa: ARG002 - HTTP/1.1 has no place for it
        """Takes no further requests; without one under way, closes."""
        self._leaving = True
        if self._exchange is None:
            self.close()

    def shut_out(self, reason: str) -> None:
        """Ends the request that is under way, its servicer's work too, and closes at once."""
        self.leave(reason)
        self.abort()

    def _drop_exchange(self) -> None:
        exchange, self._exchange = self._exchange, None
        self._out.clear()
        self.note_pending(-self.pending_bytes)
        if exchange is not None:
            exchange.connection_lost()
            self._service.call_closed(exchange)

    def close(self) -> None:
        """Sends what the network has been handed, and closes."""
        self.closing = True
        transport, self._transport = self._transport, None
        if transport is not None:
            if transport.get_write_buffer_size():  # for which a client that reads nothing would have it wait for ever
                self.loop.call_later(self.limits.answer_seconds, transport.abort)
            transport.close()

    def abort(self) -> None:
        """Ends the exchange that is under way and closes at once."""
        self.closing = True
        self._drop_exchange()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


async def _serve(service: Service, application: HttpApplication, exchange: Exchange) -> None:
    service.call_began(exchange)
    try:
        await application.answer(exchange)
    except Aborted:
        return
    except Exception as error:
        _log.error("request_failed", path=exchange.head.path, exc_info=error)
        exchange.end(grpc.StatusCode.UNKNOWN, f"Unexpected {type(error).__name__}")
    finally:
        service.call_ended(exchange)


def _reason(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()


def _probe_silent(plain: socket.socket | None) -> None:
    """Has the kernel ask whether the other side is there, where it can."""
    if plain is None or not hasattr(socket, "TCP_KEEPIDLE"):
        return
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
