"""One request over HTTP/1.1 and its answer, as the program that answers it sees them."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import grpc

from rstore_wire.call import UNREAD, Aborted
from rstore_wire.frames import Code
from rstore_wire.limits import Limits
from rstore_wire.service import AuthContext, Metadata

MAX_QUEUED_BYTES = 1 << 20
"""Of an answer in parts that have not left yet; more, and the program waits."""
MAX_QUERY_FIELDS = 100
DEADLINE_EXCEEDED = "context deadline exceeded"


@dataclass(frozen=True)
class RequestHead:
    """What the head of a request says; names of headers are in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    path: str = field(init=False)
    query: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        path, _, query = self.target.partition("?")
        if not path.startswith("/"):  # the form for proxies (RFC 9112, section 3.2.2), or one that names nothing here
            path = urlsplit(path).path or "/"
        object.__setattr__(self, "path", unquote(path))
        try:
            fields = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:  # more fields than are looked at by anything
            fields = {}
        object.__setattr__(self, "query", fields)

    def header(self, name: str) -> str:
        """Returns the first header of that name, "" without one."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


class HttpApplication(Protocol):
    """The program that answers."""

    def takes_stream(self, head: RequestHead) -> bool:
        """Whether the program reads the request's body in parts, while it answers."""

    async def answer(self, exchange: Exchange) -> None:
        """Answers one request; its body is complete, unless it is taken in parts."""

    def failure(self, head: RequestHead, code: grpc.StatusCode, details: str, metadata: Metadata) -> Reply:
        """Returns what a request is answered with that has failed."""

    def late_failure(self, head: RequestHead, code: grpc.StatusCode, details: str) -> bytes:
        """Returns the last part of an answer in parts that has failed after its begin."""


class Http1Carrier(Protocol):
    """What an exchange needs of its connection."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    caller: Any
    auth_context: AuthContext
    peer_name: str
    incomplete_bytes: int
    congested: bool
    pending_bytes: int
    max_body_bytes: int

    def send_reply(self, reply: Reply) -> None:
        """Sends a whole answer."""

    def begin_reply(self, status: int, content_type: str) -> None:
        """Sends the head of an answer in parts."""

    def send_part(self, data: bytes) -> None:
        """Sends one part."""

    def finish_reply(self) -> None:
        """Sends the end of an answer in parts."""

    def note_pending(self, more_bytes: int) -> None:
        """Counts what waits to be sent, or (negative) does no longer."""

    def watch_time_of(self, exchange: Exchange) -> None:
        """Has the exchange's ``expire`` called soon after it is due."""

    def may_answer(self, exchange: Exchange) -> bool:
        """Whether one more part may be queued; False, with the refusal counted, when too many are not read."""

    def refuse_call(self, call: Any, reason: str) -> None:
        """Counts that the exchange is given up for ``reason``."""

    def body_taken(self) -> None:
        """Reads on, if reading was paused because a body was not taken."""

    def abort(self) -> None:
        """Closes at once."""


class Exchange:
    """A request that is being answered."""

    def __init__(self, connection: Http1Carrier, application: HttpApplication, head: RequestHead, now: float) -> None:
        self.connection = connection
        self.head = head
        self.task: asyncio.Task[None] | None = None
        self.deadline = math.inf
        """When the caller's deadline passes, in the loop's time."""
        self.due = now + connection.limits.request_seconds
        """When :meth:`expire` is to be called, in the loop's time."""
        self.ended_here = False
        """Whether the last byte of the answer has left, or never will."""
        self.answered = False
        """Whether the answer is complete, sent or not."""
        self.body_complete = False
        self.body = bytearray()
        """What has come of the request's body and was not taken."""
        self._application = application
        self._begun = False
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._untaken_bytes = -1
        self._held_bytes = 0

    @property
    def caller(self) -> Any:
        """What the server's ``identify`` made of the auth context."""
        return self.connection.caller

    def peer(self) -> str:
        """The caller's address."""
        name = self.connection.peer_name
        return f"{'ipv6' if name.startswith('[') else 'ipv4'}:{name}"

    @property
    def max_body_bytes(self) -> int:
        """How large a whole body may be, and one request of a stream."""
        return self.connection.max_body_bytes

    def end_after(self, seconds: float) -> None:
        """Ends the call ``seconds`` from now, unless it is answered until then: the caller's deadline."""
        self.deadline = self.due = self.connection.loop.time() + seconds
        self.connection.watch_time_of(self)

    # ------------------------------------------------------------------ the request's body

    async def read(self) -> bytes:
        """Returns what has come of the body, b"" at its end. For one task at a time. Raises Aborted."""
        while not self.body and not self.body_complete:
            self._readable = self.connection.loop.create_future()
            await self._readable
        if self.ended_here:
            raise Aborted
        data = bytes(self.body)
        self.body.clear()
        self.connection.body_taken()
        return data

    def notice_body(self) -> None:
        """Wakes the task that waits for the body."""
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    # ------------------------------------------------------------------ the answer

    @property
    def must_wait(self) -> bool:
        """Whether a program that sends many parts has to let the other side catch up."""
        connection = self.connection
        queued_bytes = connection.pending_bytes - self._held_bytes
        return not self.ended_here and (connection.congested or queued_bytes > MAX_QUEUED_BYTES)

    async def wait_for_room(self) -> None:
        """Returns once more may be sent, or the exchange has ended. For one task at a time."""
        while self.must_wait:
            self._writable = self.connection.loop.create_future()
            await self._writable

    def notice_room(self) -> None:
        """Wakes the task that waits to send, if there is room."""
        if self._writable is not None and not self._writable.done() and not self.must_wait:
            self._writable.set_result(None)

    def respond(self, reply: Reply) -> None:
        """Sends a whole answer; the end. Of one that has ended, or is too much for its connection, nothing is sent."""
        if self.answered or self.ended_here:
            return
        if not self.connection.may_answer(self):
            self.end(grpc.StatusCode.RESOURCE_EXHAUSTED, UNREAD)
            return
        self.answered = True
        self.connection.send_reply(reply)
        self._watch_reader()

    def send(self, data: bytes, content_type: str = "application/json") -> None:
        """Sends one part of an answer, with status 200 and this content type before the first."""
        if self.answered or self.ended_here:
            return
        if self.connection.pending_bytes and not self.connection.may_answer(self):
            self.cancel(grpc.StatusCode.RESOURCE_EXHAUSTED, UNREAD)
            return
        if not self._begun:
            self._begun = True
            self.connection.begin_reply(200, content_type)
        self.connection.send_part(data)

    def hold(self, more_bytes: int) -> None:
        """Counts what the program keeps to be sent later, or (negative) does no longer."""
        if not self.ended_here:
            self._held_bytes += more_bytes
            self.connection.note_pending(more_bytes)

    def finish(self) -> None:
        """Ends an answer in parts, which may have none."""
        if self.answered or self.ended_here:
            return
        if not self._begun:
            self._begun = True
            self.connection.begin_reply(200, "application/json")
        self.answered = True
        self.connection.finish_reply()
        self._watch_reader()

    def end(self, code: grpc.StatusCode, details: str = "", metadata: Metadata = ()) -> None:
        """Answers that the request has failed, unless it is answered."""
        if self.answered or self.ended_here:
            return
        if self._begun:
            self.connection.send_part(self._application.late_failure(self.head, code, details))
            self.finish()
        else:
            self.answered = True
            self.connection.send_reply(self._application.failure(self.head, code, details, metadata))
            self._watch_reader()

    def _watch_reader(self) -> None:
        if not self.ended_here:
            self._wait_for_reader(self.connection.loop.time())

    # ------------------------------------------------------------------ what server and connection use

    @property
    def waits_for_caller(self) -> bool:
        """Whether nothing is done here: the request is not complete, or the answer is not taken."""
        return self.task is None or self.answered

    def expire(self, now: float) -> None:
        """Ends the exchange, since ``due`` has passed at ``now``; unless an answer is being taken, slowly."""
        if not self.answered:
            if self.task is None:
                self.connection.refuse_call(self, "request_not_complete")
            self.cancel(grpc.StatusCode.DEADLINE_EXCEEDED, DEADLINE_EXCEEDED)
        elif self.connection.pending_bytes != self._untaken_bytes:
            self._wait_for_reader(now)
        else:
            self.connection.refuse_call(self, "answer_not_read")
            self.refuse(Code.CANCEL)

    def _wait_for_reader(self, now: float) -> None:
        self._untaken_bytes = self.connection.pending_bytes
        self.due = now + self.connection.limits.answer_seconds
        self.connection.watch_time_of(self)

    def cancel(self, code: grpc.StatusCode, details: str) -> None:
        """Ends the exchange from this side, the program's work too."""
        self.end(code, details)
        self._give_up()

    def refuse(self, _code: Code) -> None:
        """Ends the exchange and its connection without an answer."""
        self.connection.abort()

    def connection_lost(self) -> None:
        """No answer can reach the caller."""
        self.ended_here = True
        self.body.clear()
        for future in (self._readable, self._writable):
            if future is not None and not future.done():
                future.set_result(None)
        self._give_up()

    def _give_up(self) -> None:
        if self.task is not None:
            self.task.cancel()
