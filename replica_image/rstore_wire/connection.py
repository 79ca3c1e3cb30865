"""One HTTP/2 connection as an ``asyncio`` protocol, the same for both ends: frames, flow control, keepalive.

What a stream means is its owner's business (:mod:`.server_connection`, :mod:`.client`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import structlog

from rstore_wire import frames
from rstore_wire.frames import Code, WireError
from rstore_wire.headers import MAX_HEADER_LIST_BYTES
from rstore_wire.stream import STREAM_WINDOW_BYTES, Stream

_log = structlog.get_logger(__name__)

MAX_BLOCK_BYTES = 2 * MAX_HEADER_LIST_BYTES
MAX_UNREAD_ANSWERS = 10_000
"""Control frames that are answered while the other side does not read."""
MAX_UNREAD_BYTES = 16 << 20
"""Of answers; a side that does not read them begins no further calls."""
CONTROL_FRAMES_PER_SECOND = 4_000
KEEPALIVE_SECONDS = 10.0
KEEPALIVE_TIMEOUT_SECONDS = 5.0
LINGER_SECONDS = 1.0
_PING_DATA = b"rstoreka"

_unpack = frames.FRAME_HEADER.unpack_from
_HEADER_BYTES = frames.FRAME_HEADER_BYTES


class Connection(asyncio.Protocol):
    """See the module. Subclasses take what comes: :meth:`headers_received` and :meth:`connection_ended`."""

    def __init__(
        self,
        *,
        window_bytes: int,
        max_streams: int | None,
        on_end: Callable[[Any], object],
        stream_window_bytes: int = STREAM_WINDOW_BYTES,
    ) -> None:
        """``window_bytes`` is how much may come on the whole connection before it is credited; it is at once.

        Of one stream ``stream_window_bytes`` may come that nobody has taken yet.
        ``on_end`` is called with this connection once it is gone.
        """
        self.loop = asyncio.get_running_loop()
        self.streams: dict[int, Stream] = {}
        self.send_window = frames.DEFAULT_WINDOW
        self.peer_initial_window = frames.DEFAULT_WINDOW
        self.peer_max_frame = frames.DEFAULT_MAX_FRAME_BYTES
        self.congested = False
        """The other side does not read: whoever sends a stream of messages waits."""
        self.closing = False
        self.stream_window_bytes = stream_window_bytes
        self.last_stream = 0
        """The newest one that the other side has begun: whatever is newer has not been looked at."""
        self._window_bytes = window_bytes
        self._max_streams = max_streams
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._flush_planned = False
        self._rest = b""
        self._uncredited = 0
        self._block: bytearray | None = None
        self._block_stream = self._block_flags = 0
        self._blocked: dict[int, Stream] = {}
        self._heard_at = self.loop.time()
        self._pinged_at = 0.0
        self._control_count = self._unread_answers = 0
        self._control_since = self._heard_at
        self._keepalive: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says what is expected of the other side."""
        self._transport = cast(asyncio.Transport, transport)
        values = {
            frames.SETTING_ENABLE_PUSH: 0,
            frames.SETTING_INITIAL_WINDOW_SIZE: self.stream_window_bytes,
            frames.SETTING_MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
        }
        if self._max_streams is not None:
            del values[frames.SETTING_ENABLE_PUSH]  # only a client may say it
            values[frames.SETTING_MAX_CONCURRENT_STREAMS] = self._max_streams
        self.write(frames.settings(values))
        self.write(frames.window_update(0, self._window_bytes - frames.DEFAULT_WINDOW))
        self._keepalive = self.loop.call_later(KEEPALIVE_SECONDS, self._keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """All streams end."""
        self.closing = True
        if self._keepalive is not None:
            self._keepalive.cancel()
        streams, self.streams = list(self.streams.values()), {}
        self._blocked.clear()
        for stream in streams:
            stream.connection_lost()
        self._on_end(self)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self.congested = True

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self.congested = False
        self._unread_answers = 0
        for stream in list(self.streams.values()):
            stream.notice_room()

    def data_received(self, data: bytes) -> None:
        """Takes the frames that are complete."""
        if self.closing:
            return
        self._heard_at = self.loop.time()
        if self._rest:
            data = self._rest + data
        try:
            self._rest = data[self._take_all(data) :]
        except WireError as error:
            self.fail(error.code, str(error))

    def eof_received(self) -> bool:
        """The other side is done: so is this one."""
        return False

    # ------------------------------------------------------------------ out

    def write(self, data: bytes) -> None:
        """Sends with all else that is sent in this round of the loop."""
        self._out.append(data)
        if not self._flush_planned:
            self._flush_planned = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Hands what was written to the transport."""
        self._flush_planned = False
        if self._transport is not None and self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._transport.write(data)
        self._out.clear()

    def fail(self, code: Code, text: str) -> None:
        """Tells the other side why, and closes."""
        if self.closing:
            return
        _log.info("connection_refused", peer=self.peer_name, code=code.name, reason=text)
        self.write(frames.goaway(self.last_stream, code, text))
        self.flush()
        self.closing = True
        # To close with something unread would reset the connection before what was said has arrived.
        self.loop.call_later(LINGER_SECONDS, self.abort)

    def close(self) -> None:
        """Sends what is to be sent and closes."""
        self.flush()
        self.closing = True
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self.closing = True
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    @property
    def is_unread(self) -> bool:
        """Whether the other side has left more unread than it may."""
        transport = self._transport
        return self.congested and transport is not None and transport.get_write_buffer_size() > MAX_UNREAD_BYTES

    @property
    def peer_name(self) -> str:
        """Address of the other side."""
        found = None if self._transport is None else self._transport.get_extra_info("peername")
        if not found:
            return "gone"
        address = plain_address(found[0])
        return f"[{address}]:{found[1]}" if ":" in address else f"{address}:{found[1]}"

    def wait_for_window(self, stream: Stream) -> None:
        """Have the stream told when the connection's window is open again."""
        self._blocked[stream.id] = stream

    def forget(self, stream: Stream) -> None:
        """The stream has ended on both sides."""
        self.streams.pop(stream.id, None)
        self._blocked.pop(stream.id, None)

    # ------------------------------------------------------------------ in

    def headers_received(self, stream: int, block: bytes, *, end: bool) -> None:
        """A whole header block has come."""
        raise NotImplementedError

    def is_idle(self, stream: int) -> bool:
        """Whether the other side has not begun this stream yet."""
        raise NotImplementedError

    def goaway_received(self, last_stream: int) -> None:
        """The other side takes no streams above ``last_stream``."""

    def _take_all(self, data: bytes) -> int:
        """Takes whole frames; returns where the first that is not whole begins. Raises WireError."""
        at, size = 0, len(data)
        while size - at >= _HEADER_BYTES:
            high, low, kind, flags, stream = _unpack(data, at)
            length = high << 8 | low
            if length > frames.DEFAULT_MAX_FRAME_BYTES:
                raise WireError(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = at + _HEADER_BYTES
            end = start + length
            if end > size:
                break
            at = end
            if self._block is not None and kind != frames.CONTINUATION:
                raise WireError(Code.PROTOCOL_ERROR, "headers do not go on")
            if kind == frames.DATA:
                self._on_data(flags, stream, data[start:end], length)
            elif kind == frames.HEADERS:
                self._on_headers(flags, stream, data[start:end])
            else:
                self._on_other(kind, flags, stream, data[start:end])
            if self.closing:
                return size
        return at

    def _on_data(self, flags: int, number: int, payload: bytes, length: int) -> None:
        # The connection's window is credited for what has come, taken or not: a stream's own window bounds it.
        self._uncredited += length
        if self._uncredited > self._window_bytes // 2:
            self.write(frames.window_update(0, self._uncredited))
            self._uncredited = 0
        stream = self.streams.get(number)
        if stream is None:
            if not number or self.is_idle(number):
                raise WireError(Code.PROTOCOL_ERROR, f"data on stream {number}, which is idle")
            return  # it was reset a moment ago
        if flags & frames.PADDED:
            payload = frames.unpadded(flags & frames.PADDED, payload)
        if not length and not flags & frames.END_STREAM:
            self._count_control()
        if length > stream.receive_window:
            raise WireError(Code.FLOW_CONTROL_ERROR, f"more than the window of stream {number}")
        stream.receive_window -= length
        stream.data_received(payload, end=bool(flags & frames.END_STREAM))

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise WireError(Code.PROTOCOL_ERROR, "headers on no stream")
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.unpadded(flags, payload)
        if flags & frames.END_HEADERS:
            self.headers_received(number, payload, end=bool(flags & frames.END_STREAM))
        else:
            self._block, self._block_stream, self._block_flags = bytearray(payload), number, flags

    def _on_other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._on_window_update(number, frames.read_u32(payload))
        elif kind == frames.CONTINUATION:
            if self._block is None or number != self._block_stream:
                raise WireError(Code.PROTOCOL_ERROR, "a continuation of nothing")
            self._block += payload
            if len(self._block) > MAX_BLOCK_BYTES or not payload:
                raise WireError(Code.ENHANCE_YOUR_CALM, "headers without end")
            if flags & frames.END_HEADERS:
                block, self._block = bytes(self._block), None
                self.headers_received(number, block, end=bool(self._block_flags & frames.END_STREAM))
        elif kind == frames.PUSH_PROMISE:
            raise WireError(Code.PROTOCOL_ERROR, "nothing may be pushed")
        else:
            self._count_control()
            self._on_control(kind, flags, number, payload)

    def _on_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.PING:
            if len(payload) != 8:
                raise WireError(Code.FRAME_SIZE_ERROR, "a ping of a wrong size")
            if not flags & frames.ACK:
                self.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.SETTINGS:
            if not flags & frames.ACK:
                self._on_settings(frames.read_settings(payload))
        elif kind == frames.RST_STREAM:
            code = frames.read_u32(payload)
            if not number or self.is_idle(number):
                raise WireError(Code.PROTOCOL_ERROR, f"reset of stream {number}, which is idle")
            stream = self.streams.get(number)
            if stream is not None:
                stream.reset_received(code)
        elif kind == frames.GOAWAY:
            self.goaway_received(frames.read_u32(payload[:4]))

    def _count_control(self) -> None:
        """Bounds what the other side can make this one do for nothing."""
        self._control_count += 1
        if self._control_count >= CONTROL_FRAMES_PER_SECOND:
            if self._heard_at - self._control_since < 1.0:
                raise WireError(Code.ENHANCE_YOUR_CALM, "too many control frames")
            self._control_count, self._control_since = 0, self._heard_at
        if self.congested:
            self._unread_answers += 1
            if self._unread_answers > MAX_UNREAD_ANSWERS:
                raise WireError(Code.ENHANCE_YOUR_CALM, "answers are not read")

    def _on_settings(self, values: list[tuple[int, int]]) -> None:
        for name, value in values:
            if name == frames.SETTING_INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise WireError(Code.FLOW_CONTROL_ERROR, "a window that is too large")
                difference, self.peer_initial_window = value - self.peer_initial_window, value
                for stream in self.streams.values():
                    stream.send_window += difference
            elif name == frames.SETTING_MAX_FRAME_SIZE:
                if not frames.DEFAULT_MAX_FRAME_BYTES <= value <= frames.MAX_FRAME_BYTES_LIMIT:
                    raise WireError(Code.PROTOCOL_ERROR, "a frame size out of bounds")
                self.peer_max_frame = value
        # What is said first: only from then on the other side goes by what it has set.
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        for stream in list(self.streams.values()):
            stream.send_pending()

    def _on_window_update(self, number: int, more: int) -> None:
        if number:
            stream = self.streams.get(number)
            if stream is not None:
                stream.send_window += more
                if not more or stream.send_window > frames.MAX_WINDOW:
                    raise WireError(Code.FLOW_CONTROL_ERROR, "a window out of bounds")
                stream.send_pending()
            return
        self.send_window += more
        if not more or self.send_window > frames.MAX_WINDOW:
            raise WireError(Code.FLOW_CONTROL_ERROR, "a window out of bounds")
        while self._blocked and self.send_window > 0:
            self._blocked.pop(next(iter(self._blocked))).send_pending()

    # ------------------------------------------------------------------ keepalive

    def _keep_alive(self) -> None:
        """Asks whether the other side is there when it has said nothing for a while."""
        now = self.loop.time()
        silent = now - self._heard_at
        if self._pinged_at > self._heard_at:
            if now - self._pinged_at >= KEEPALIVE_TIMEOUT_SECONDS:
                _log.info("connection_silent", peer=self.peer_name)
                self.abort()
                return
            pause = KEEPALIVE_TIMEOUT_SECONDS
        elif silent >= KEEPALIVE_SECONDS:
            self._pinged_at = now
            self.write(frames.frame(frames.PING, 0, 0, _PING_DATA))
            pause = KEEPALIVE_TIMEOUT_SECONDS
        else:
            pause = KEEPALIVE_SECONDS - silent
        self._keepalive = self.loop.call_later(max(pause, 0.05), self._keep_alive)


def plain_address(address: str) -> str:
    """The address as it is written: an IPv4 caller of a socket of both families without the prefix of IPv6."""
    return address.removeprefix("::ffff:") if "." in address else address
