"""One call as its servicer sees it: the part of ``grpc.aio.ServicerContext`` that services use."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from struct import Struct
from typing import Any, NoReturn, Protocol
from urllib.parse import quote

import grpc

from rstore_wire import frames
from rstore_wire.frames import Code
from rstore_wire.headers import block
from rstore_wire.limits import Limits
from rstore_wire.messages import PREFIX, PREFIX_BYTES, MessageError, MessageReader, offered
from rstore_wire.service import AuthContext, Metadata, Refusal
from rstore_wire.stream import Carrier, Stream

EOF = grpc.aio.EOF  # type: ignore[attr-defined]  # not in the stubs

_UP_TO_STREAM = frames.FRAME_HEADER_BYTES - 4
_RESPONSE_HEADERS = (b":status", b"200"), (b"content-type", b"application/grpc")
RESPONSE_BLOCK = b"\x88" + block(_RESPONSE_HEADERS[1:])
_OK_BLOCK = block([(b"grpc-status", b"0")])
_START = frames.frame(frames.HEADERS, frames.END_HEADERS, 0, RESPONSE_BLOCK)[:_UP_TO_STREAM]
_END = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 0, _OK_BLOCK)[:_UP_TO_STREAM]
_pack_start = Struct(f">{_UP_TO_STREAM}sI{len(RESPONSE_BLOCK)}sHBxBIBI").pack
"""A whole HEADERS frame, the header of a DATA frame, whose kind is 0, and the prefix of the message in it."""
_pack_end = Struct(f">{_UP_TO_STREAM}sI{len(_OK_BLOCK)}s").pack
_unpack_prefix = PREFIX.unpack_from
_LARGEST_AT_ONCE = frames.DEFAULT_MAX_FRAME_BYTES
_LARGEST_JOINED = _LARGEST_AT_ONCE // 2
UNREAD = "too many answers of this connection are not read"
MAX_DETAILS_BYTES = 4_096
"""Of a status's text as it is sent: clients refuse headers of more than 8 KiB."""


class Aborted(Exception):  # noqa: N818 - it is how abort() leaves a servicer, not an error
    """The call has ended already; raised by :meth:`Call.abort`, among others."""


@dataclass(frozen=True)
class Head:
    """What the headers of a call say, and who serves it."""

    path: str
    metadata: tuple[tuple[str, str | bytes], ...]
    timeout_seconds: float | None
    encoding: str
    handler: Any
    """gRPC's handler of the method; None when the call is refused."""
    refusal: Refusal | None = None
    http_status: int = 200
    malformed: str = ""
    """Why the headers are none that HTTP/2 allows (section 8.1.1); empty: they are in order."""
    takes_one_request: bool = field(init=False)
    """Whether the call is in order so far, and its one request is to come."""

    def __post_init__(self) -> None:
        is_refused = self.handler is None or self.refusal is not None or self.http_status != 200 or self.malformed
        object.__setattr__(self, "takes_one_request", not is_refused and not self.handler.request_streaming)


def status_block(code: grpc.StatusCode, details: str, metadata: Metadata, *, first: bool) -> bytes:
    """The trailers that end a call; ``first``: nothing has been sent yet."""
    headers = list(_RESPONSE_HEADERS) if first else []
    headers.append((b"grpc-status", b"%d" % code.value[0]))
    if details:
        headers.append((b"grpc-message", _percent_encoded(details)))
    for key, value in metadata:
        raw = value if isinstance(value, bytes) else value.encode()
        headers.append((key.encode(), base64.b64encode(raw) if key.endswith("-bin") else raw))
    return block(headers)


def _percent_encoded(text: str) -> bytes:
    text = text[:MAX_DETAILS_BYTES]
    while len(encoded := quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()) > MAX_DETAILS_BYTES:
        text = text[: len(text) * MAX_DETAILS_BYTES // len(encoded)]
    return encoded


def _code_of(error: MessageError) -> grpc.StatusCode:
    return grpc.StatusCode.RESOURCE_EXHAUSTED if error.too_large else grpc.StatusCode.INTERNAL


class Caller(Carrier, Protocol):
    """What a call needs of the connection that it came by."""

    max_message_bytes: int
    auth_context: AuthContext
    caller: Any
    """What the server's ``identify`` made of the auth context."""
    limits: Limits
    received_at: float
    """When something came last, in the loop's time."""
    incomplete_bytes: int
    """Of its requests that have come in part."""

    peer_name: str
    """Address and port of the caller."""

    def begin(self, call: Call, message: bytes) -> None:
        """Has the call served: its one request is complete."""

    def note_incomplete(self, call: Call, size: int) -> None:
        """Counts how much has come of a request that is not complete; cancels the call when it is too much."""

    def watch_time_of(self, call: Call) -> None:
        """Has the call's ``expire`` called soon after it is due."""

    def may_answer(self, call: Call) -> bool:
        """Whether one more answer may be queued; False, with the refusal counted, when too many are not read."""

    def refuse_call(self, call: Call, reason: str) -> None:
        """Counts that the call is given up for ``reason``."""


class Call(Stream):
    """A call that is being served; what a servicer gets as its context."""

    connection: Caller

    __slots__ = ("_code", "_details", "_headers_sent", "_trailing", "_untaken_bytes", "deadline", "due", "head", "task")

    def __init__(self, connection: Caller, number: int, head: Head) -> None:
        super().__init__(connection, number)
        self.head = head
        self.task: asyncio.Task[None] | None = None
        """In which the servicer is at work: the call ends with it, or at the caller's deadline."""
        now = connection.received_at
        self.deadline: float | None = None
        """When the caller's deadline passes, in the loop's time."""
        self.due = now + connection.limits.request_seconds
        """When :meth:`expire` is to be called, in the loop's time."""
        if head.timeout_seconds is not None:
            self.deadline = now + head.timeout_seconds
            self.due = min(self.due, self.deadline)
        self._untaken_bytes = -1
        self._headers_sent = False
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()

    # ------------------------------------------------------------------ what servicers use

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the caller sent along."""
        return self.head.metadata

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None when there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - self.connection.loop.time())

    def auth_context(self) -> AuthContext:
        """What the caller's certificate says, under gRPC's names."""
        return self.connection.auth_context

    @property
    def caller(self) -> Any:
        """What the server's ``identify`` made of the auth context."""
        return self.connection.caller

    def peer(self) -> str:
        """The caller's address."""
        name = self.connection.peer_name
        return f"{'ipv6' if name.startswith('[') else 'ipv4'}:{name}"

    def set_code(self, code: grpc.StatusCode) -> None:
        """What the call ends with, if it fails."""
        self._code = code

    def set_details(self, details: str) -> None:
        """The text for :meth:`set_code`."""
        self._details = details

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Sent with the status."""
        self._trailing = metadata

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """Ends the call with this status. Does not return."""
        self.end(code, details, trailing_metadata or self._trailing)
        raise Aborted

    async def write(self, message: Any) -> None:
        """Sends one message of a stream of answers; waits while the other side does not keep up."""
        if self.ended_here:
            raise asyncio.CancelledError
        if self._pending and not self.connection.may_answer(self):
            await self.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, UNREAD)
        self.queue_message(self.head.handler.response_serializer(message))
        if self.must_wait:
            await self.wait_for_room()

    def offer(self, message: bytes) -> bool:
        """Sends one encoded message of a stream of answers; False, and nothing is sent, while the other side does not
        keep up: :meth:`wait_for_room` returns once it does. To a call that has ended nothing is sent.
        """
        if (self._pending or self.connection.congested) and not self._has_room():
            return False
        if not self.ended_here:
            self.queue_message(message)
        return True

    def offer_each(self, before: bytes, middles: Sequence[bytes], after: bytes) -> int:
        """Offers the messages that consist of ``before``, a middle and ``after``, in order; returns how many were sent
        before one was not taken. Many small ones together cost little more than one.
        """
        if len(middles) == 1 or len(before) + len(after) > _LARGEST_JOINED:
            return offered(self.offer, before, middles, after)
        sent = 0
        for middle_bytes, alike in groupby(middles, len):
            size = len(before) + middle_bytes + len(after)
            head = PREFIX.pack(0, size) + before
            between = after + head
            at_once = max(1, _LARGEST_AT_ONCE // (size + PREFIX_BYTES))
            while some := list(islice(alike, at_once)):
                if not self._has_room():
                    return sent
                if not self.ended_here:
                    self._send_headers()
                    self.queue_encoded(head + between.join(some) + after)
                sent += len(some)
        return sent

    def _has_room(self) -> bool:
        """Whether an answer is taken now. It is, too, by a call that has ended, or ends since too much is unread."""
        if (self._pending or self.connection.congested) and not self.ended_here:
            if self.must_wait:
                return False
            if not self.connection.may_answer(self):
                self.cancel(grpc.StatusCode.RESOURCE_EXHAUSTED, UNREAD)
        return True

    def queue_message(self, message: bytes) -> None:
        """Sends one encoded message without waiting; look at ``must_wait`` before the next."""
        self._send_headers()
        super().queue_message(message)

    async def read(self) -> Any:
        """The next message of a stream of requests; ``grpc.aio.EOF`` after the last."""
        try:
            while (message := self.next_message()) is None:
                if self.ended_there:
                    return EOF
                await self.wait_for_message()
        except MessageError as error:
            self.end(_code_of(error), str(error))
            raise Aborted from error
        return self.decoded(message)

    def decoded(self, message: bytes) -> Any:
        """The request in a message; ends the call when there is none in it."""
        try:
            return self.head.handler.request_deserializer(message)
        except Exception as error:
            self.end(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
            raise Aborted from error

    # ------------------------------------------------------------------ what the server uses

    def _send_headers(self) -> None:
        if not self._headers_sent:
            self._headers_sent = True
            self.connection.write(frames.frame(frames.HEADERS, frames.END_HEADERS, self.id, RESPONSE_BLOCK))

    @property
    def waits_for_caller(self) -> bool:
        """Whether nothing is done for the call here: its request is not complete, or its answer is not taken."""
        return self.task is None or self._end_block is not None

    def expire(self, now: float) -> None:
        """Ends the call, since ``due`` has passed at ``now``; unless an answer is being taken, slowly."""
        if self._end_block is None:
            if self.task is None:
                self.connection.refuse_call(self, "request_not_complete")
            self.cancel(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        elif (self.deadline is None or now < self.deadline) and self._pending_bytes != self._untaken_bytes:
            self._wait_for_reader(now)
        else:
            self.connection.refuse_call(self, "answer_not_read")
            self.refuse(Code.CANCEL)

    def _wait_for_reader(self, now: float) -> None:
        self._untaken_bytes = self._pending_bytes
        self.due = now + self.connection.limits.answer_seconds
        if self.deadline is not None:
            self.due = min(self.due, self.deadline)
        self.connection.watch_time_of(self)

    def respond(self, message: bytes) -> None:
        """The only answer, and the end."""
        connection, size = self.connection, len(message) + PREFIX_BYTES
        if self.ended_here:
            return
        if (
            not self.ended_there
            or self._headers_sent
            or self._trailing
            or size > _LARGEST_AT_ONCE
            or size > self.send_window
            or size > connection.send_window
            or connection.congested
        ):
            if not connection.may_answer(self):
                self.end(grpc.StatusCode.RESOURCE_EXHAUSTED, UNREAD)
                return
            self._send_headers()
            super().queue_message(message)
            self.end(grpc.StatusCode.OK, "", self._trailing)
            return
        number = self.id
        connection.send_window -= size
        self.ended_here = True
        connection.write(
            _pack_start(_START, number, RESPONSE_BLOCK, size >> 8, size & 0xFF, 0, number, 0, size - PREFIX_BYTES)
            + message
            + _pack_end(_END, number, _OK_BLOCK)
        )
        connection.forget(self)

    def end(self, code: grpc.StatusCode, details: str = "", metadata: Metadata = ()) -> None:
        """Ends the call; whatever else the caller sends is dropped."""
        if self.ended_here or self._end_block is not None:
            return
        if code is grpc.StatusCode.OK:
            self._send_headers()
        else:
            self.drop_pending()
        self.end_with(status_block(code, details, metadata, first=not self._headers_sent))
        self._forget_if_ended()

    def end_without_status(self, http_status: int) -> None:
        """Answers what is no call of gRPC."""
        self.end_with(b"\x08\x03%d" % http_status)
        self._forget_if_ended()

    def _forget_if_ended(self) -> None:
        """What the caller still sends is not waited for. No reset: the status ends the call at its side too."""
        if self.ended_here:
            self.ended_there = True
            self.connection.forget(self)
        else:
            self._wait_for_reader(self.connection.loop.time())
            self.connection.note_incomplete(self, 0)

    def end_after_error(self, error: Exception) -> None:
        """Ends the call the way its servicer left it."""
        code = self._code or grpc.StatusCode.UNKNOWN
        self.end(code, self._details or f"Unexpected {type(error).__name__}", self._trailing)

    def data_received(self, payload: bytes, *, end: bool) -> None:
        """The request, or a part of it."""
        connection = self.connection
        if self._end_block is not None:
            return
        size = len(payload) - PREFIX_BYTES
        if end and size >= 0 and self._reader is None and self.head.takes_one_request:
            compressed, message_bytes = _unpack_prefix(payload)
            if message_bytes == size and not compressed:
                # Nearly always: the one request at once.
                self.ended_there = True
                connection.begin(self, payload[PREFIX_BYTES:])
                return
        if self._reader is None:
            self._reader = MessageReader(max_bytes=connection.max_message_bytes, encoding=self.head.encoding)
        try:
            self.take_messages(self._reader, payload)
        except MessageError as error:
            self.cancel(_code_of(error), str(error))
            return
        incomplete_bytes = self._reader.incomplete_bytes
        if incomplete_bytes or connection.incomplete_bytes:
            connection.note_incomplete(self, incomplete_bytes)
        if end:
            self._request_ended(connection)

    def _request_ended(self, connection: Caller) -> None:
        self.ended_there = True
        self.notice_all()
        if self._reader is not None and self._reader.incomplete_bytes:
            self.cancel(grpc.StatusCode.INTERNAL, "the last message is not complete")
        elif not self.head.handler.request_streaming:
            try:
                message = self.next_message()
            except MessageError as error:
                self.cancel(_code_of(error), str(error))
                return
            if message is None or self._arrived:
                self.cancel(grpc.StatusCode.INTERNAL, "one request is expected")
            else:
                connection.begin(self, message)

    def cancel(self, code: grpc.StatusCode, details: str) -> None:
        """Ends the call from this side, the servicer's work too."""
        self.end(code, details)
        self._give_up()

    def refuse(self, code: Code) -> None:
        """Resets the stream, and ends the servicer's work."""
        self.reset(code)
        self._give_up()

    def reset_received(self, _code: int) -> None:
        """The caller does not want an answer any more."""
        self.connection_lost()
        self.connection.forget(self)

    def connection_lost(self) -> None:
        """No answer can reach the caller."""
        self.ended_here = self.ended_there = True
        self.drop_pending()
        self.notice_all()
        self._give_up()

    def _give_up(self) -> None:
        if self.task is not None:
            self.task.cancel()
