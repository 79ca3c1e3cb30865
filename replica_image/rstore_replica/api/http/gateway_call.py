"""A request of the JSON gateway as the servicer of its method sees it: the part of gRPC's context that services use."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message
from rstore_wire.call import EOF, Aborted
from rstore_wire.exchange import DEADLINE_EXCEEDED, Exchange
from rstore_wire.messages import offered
from rstore_wire.service import AuthContext, Metadata

from rstore_replica.api.http.conversions import Conversions
from rstore_replica.api.http.json_mapping import JsonError, Pace, ValueSplitter, json_from, message_from

MAX_QUEUED_BYTES = 256 << 10
"""Of messages that wait to be sent as JSON; more, and the servicer waits."""
SLICE_BYTES = 16 << 10
"""Of a body that are looked at in one round of the event loop."""
CLOCK_SECONDS = 0.001
"""Between two readings of the event loop's clock that differ."""
_METADATA_PREFIX = "grpc-metadata-"


def metadata_of(exchange: Exchange) -> tuple[tuple[str, str], ...]:
    """Returns the metadata that a request's headers stand for, as grpc-gateway maps them."""
    return tuple(
        (name.removeprefix(_METADATA_PREFIX), value)
        for name, value in exchange.head.headers
        if name == "authorization" or name.startswith(_METADATA_PREFIX)
    )


class GatewayCall:
    """A call whose messages are JSON. Its answers are one message, or a line for each message."""

    def __init__(
        self, exchange: Exchange, handler: Any, kinds: tuple[type[Message], type[Message]], conversions: Conversions
    ) -> None:
        """``kinds`` are the classes of requests and answers."""
        self._exchange = exchange
        self._handler = handler
        self._request_kind, self._answer_kind = kinds
        self._conversions = conversions
        self._client = exchange.peer().rpartition(":")[0]
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._complete = False
        self._changed = asyncio.Event()
        """Set when something was queued, or there is room."""
        self._requests: AsyncIterator[Any] | None = None

    # ------------------------------------------------------------------ what servicers use

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """What the caller sent along."""
        return metadata_of(self._exchange)

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None when there is none."""
        deadline = self._exchange.deadline
        return None if deadline == math.inf else max(0.0, deadline - asyncio.get_running_loop().time())

    def auth_context(self) -> AuthContext:
        """What the caller's certificate says, under gRPC's names."""
        return self._exchange.connection.auth_context

    @property
    def caller(self) -> Any:
        """What the server's ``identify`` made of the auth context."""
        return self._exchange.caller

    def peer(self) -> str:
        """The caller's address."""
        return self._exchange.peer()

    def set_code(self, code: grpc.StatusCode) -> None:
        """What the call ends with, if it fails."""
        self._code = code

    def set_details(self, details: str) -> None:
        """The text for :meth:`set_code`."""
        self._details = details

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Sent with a failure; JSON has no place for it otherwise."""
        self._trailing = metadata

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Sends nothing: etcd's gateway shows none of it either."""

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """Ends the call with this status, or that of its deadline if that has passed. Does not return."""
        remaining = self.time_remaining()
        if remaining is not None and remaining < CLOCK_SECONDS:
            code, details, trailing_metadata = grpc.StatusCode.DEADLINE_EXCEEDED, DEADLINE_EXCEEDED, ()
        self._exchange.end(code, details, trailing_metadata or self._trailing)
        raise Aborted

    def cancel(self) -> None:
        """Ends the call and its servicer's work."""
        self._exchange.cancel(grpc.StatusCode.CANCELLED, "context canceled")

    async def read(self) -> Any:
        """The next of the requests; ``grpc.aio.EOF`` after the last. Raises JsonError."""
        if self._requests is None:
            self._requests = self.requests()
        return await anext(self._requests, EOF)

    async def requests(self) -> AsyncIterator[Any]:
        """Yields the requests of the body as they come. Raises JsonError, Aborted."""
        exchange = self._exchange
        splitter = ValueSplitter(exchange.max_body_bytes)
        while data := await exchange.read():
            for at in range(0, len(data), SLICE_BYTES):
                for value in splitter.feed(data[at : at + SLICE_BYTES]):
                    yield await self.request_from(value)
                await asyncio.sleep(0)
        if splitter.is_incomplete:
            raise JsonError("unexpected EOF")

    async def write(self, message: Any) -> None:
        """Sends one message of a stream of answers; waits while the other side does not keep up."""
        await self.wait_for_room()
        if self._exchange.ended_here:
            raise asyncio.CancelledError
        self._put(self._handler.response_serializer(message))

    def offer(self, message: bytes) -> bool:
        """Sends one encoded message of a stream of answers; False, and nothing is sent, while the other side does not
        keep up: :meth:`wait_for_room` returns once it does. To a call that has ended nothing is sent.
        """
        if self._has_ended:
            return True
        if self._must_wait:
            return False
        self._put(message)
        return True

    def offer_each(self, before: bytes, middles: Sequence[bytes], after: bytes) -> int:
        """See ``rstore_wire.call.Call.offer_each``."""
        return offered(self.offer, before, middles, after)

    async def wait_for_room(self) -> None:
        """Returns once messages are taken again, or the call has ended."""
        while self._must_wait and not self._has_ended:
            self._changed.clear()
            await self._changed.wait()

    # ------------------------------------------------------------------ what the gateway uses

    @property
    def _has_ended(self) -> bool:
        return self._exchange.answered or self._exchange.ended_here

    @property
    def _must_wait(self) -> bool:
        return self._queued_bytes >= MAX_QUEUED_BYTES

    def _put(self, message: bytes) -> None:
        self._queue.append(message)
        self._queued_bytes += len(message)
        self._exchange.hold(len(message))
        self._changed.set()

    async def request_from(self, text: bytes) -> Any:
        """Returns the request in a JSON text, in the form in which the servicer takes it. Raises JsonError."""

        def convert(pace: Pace) -> Any:
            encoded = message_from(text, self._request_kind, pace).SerializeToString()
            return self._handler.request_deserializer(encoded)

        return await self._conversions.run(convert, len(text), self._client)

    async def json_of(self, message: bytes) -> bytes:
        """Returns an encoded answer as JSON."""
        return await self._conversions.run(
            lambda pace: json_from(self._answer_kind.FromString(message), pace), len(message), self._client
        )

    def complete(self) -> None:
        """Has :meth:`send_lines` return once all messages are sent."""
        self._complete = True
        self._changed.set()

    async def send_lines(self) -> None:
        """Sends each message as a line, until the answers are complete."""
        while True:
            while not self._queue:
                if self._complete:
                    return
                self._changed.clear()
                await self._changed.wait()
            message = self._queue.popleft()
            line = b'{"result":' + await self.json_of(message) + b"}\n"
            self._exchange.hold(-len(message))
            self._exchange.send(line)
            await self._exchange.wait_for_room()
            self._queued_bytes -= len(message)
            self._changed.set()
            await asyncio.sleep(0)

    def end_after_error(self, error: Exception) -> None:
        """Ends the call the way its servicer left it."""
        code = self._code or grpc.StatusCode.UNKNOWN
        self._exchange.end(code, self._details or f"Unexpected {type(error).__name__}", self._trailing)
