"""The client's end, as far as it is needed: one connection for one call that is a stream in both directions."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from urllib.parse import unquote

import grpc

from rstore_wire import frames
from rstore_wire.connection import Connection
from rstore_wire.frames import Code, WireError
from rstore_wire.headers import HeaderReader, Headers, block
from rstore_wire.limits import Limits
from rstore_wire.messages import MessageError, MessageReader
from rstore_wire.stream import Stream

CONNECTION_WINDOW_BYTES = 64 << 20

_STATUS = {code.value[0]: code for code in grpc.StatusCode}


class CallFailed(Exception):  # noqa: N818 - it says what happened
    """The call ended with another status than OK."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class ClientCall(Stream):
    """The stream: messages out with ``queue_message``, messages in with :meth:`messages`."""

    __slots__ = ("_failure",)
    _reader: MessageReader

    def __init__(self, connection: Connection, number: int, *, max_message_bytes: int) -> None:
        super().__init__(connection, number)
        self._reader = MessageReader(max_bytes=max_message_bytes)
        self._failure: CallFailed | None = None

    async def messages(self) -> AsyncIterator[bytes]:
        """What the server sends. Raises CallFailed when the call ends with anything but OK."""
        while True:
            try:
                while (message := self.next_message()) is not None:
                    yield message
            except MessageError as error:
                self._fail(error)
            if self.ended_there:
                break
            await self.wait_for_message()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Ends the call and its connection."""
        self.connection.close()

    def headers_received(self, headers: Headers, *, end: bool) -> None:
        """The first headers, or the trailers."""
        fields = dict(headers)
        if not end:
            if fields.get(b":status", b"200") != b"200":
                self._end(grpc.StatusCode.UNAVAILABLE, f"HTTP status {fields[b':status']!r}")
                self.reset(Code.CANCEL)
            return
        try:
            code = _STATUS[int(fields.get(b"grpc-status", b"2"))]
        except (ValueError, KeyError):
            code = grpc.StatusCode.UNKNOWN
        self._end(code, unquote(fields.get(b"grpc-message", b"").decode("latin-1")))

    def _end(self, code: grpc.StatusCode, details: str) -> None:
        if code is not grpc.StatusCode.OK and self._failure is None:
            self._failure = CallFailed(code, details)
        self.ended_there = True
        self.notice_all()

    def data_received(self, payload: bytes, *, end: bool) -> None:
        """A part of the stream."""
        try:
            self.take_messages(self._reader, payload)
        except MessageError as error:
            self._fail(error)
            return
        if end:
            self._end(grpc.StatusCode.INTERNAL, "the stream ended without a status")

    def _fail(self, error: MessageError) -> None:
        self._end(grpc.StatusCode.INTERNAL, str(error))
        self.reset(Code.CANCEL)

    def refuse(self, code: Code) -> None:
        """Ends the call: the server has broken the protocol."""
        self._end(grpc.StatusCode.UNAVAILABLE, f"the server broke the protocol: {code.name}")
        self.reset(code)

    def reset_received(self, code: int) -> None:
        """The server has given up."""
        self.ended_here = True
        self._end(grpc.StatusCode.UNAVAILABLE, f"the stream was reset with code {code}")
        self.connection.forget(self)

    def connection_lost(self) -> None:
        """The connection is gone."""
        self.ended_here = True
        self.drop_pending()
        self._end(grpc.StatusCode.UNAVAILABLE, "the connection was lost")


class ClientConnection(Connection):
    """The client's end of a connection, which carries one call."""

    def __init__(self) -> None:
        super().__init__(
            window_bytes=CONNECTION_WINDOW_BYTES, max_streams=None, limits=Limits(), on_end=lambda _connection: None
        )
        self._headers: HeaderReader[Headers] = HeaderReader(lambda headers: headers)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins with the preface; closes when the server does not speak HTTP/2."""
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            transport.close()
            return
        self.write(frames.PREFACE)
        super().connection_made(transport)

    def begin(self, path: str, authority: str, *, max_message_bytes: int) -> ClientCall:
        """The one call."""
        call = ClientCall(self, 1, max_message_bytes=max_message_bytes)
        self.streams[1] = call
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":path", path.encode()),
            (b":authority", authority.encode()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        ]
        self.write(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block(headers)))
        return call

    def is_idle(self, stream: int) -> bool:
        """True for every stream but the one that was begun."""
        return stream != 1

    def headers_received(self, stream: int, block: bytes, *, end: bool) -> None:
        """Hands them to the call. Raises WireError."""
        headers = self._headers.read(block)
        call = self.streams.get(stream)
        if isinstance(call, ClientCall):
            call.headers_received(headers, end=end)
        elif stream != 1:
            raise WireError(Code.PROTOCOL_ERROR, f"headers on stream {stream}, which was not begun here")


async def open_stream(
    address: str,
    port: int,
    path: str,
    *,
    context: ssl.SSLContext | None,
    server_name: str,
    max_message_bytes: int,
) -> ClientCall:
    """Connects to an IP address and begins the call; ``server_name`` is what the certificate must be for.

    ``context`` None is plaintext, for tests. Raises OSError (ssl.SSLError is one).
    """
    loop = asyncio.get_running_loop()
    transport, connection = await loop.create_connection(
        ClientConnection,
        address,
        port,
        ssl=context,
        server_hostname=server_name if context is not None else None,
    )
    plain = transport.get_extra_info("socket")
    if plain is not None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if connection.closing:
        raise OSError("the server does not speak HTTP/2")
    return connection.begin(path, f"{server_name}:{port}", max_message_bytes=max_message_bytes)
