"""One HTTP/2 connection as an ``asyncio`` protocol, the same for both ends: frames, flow control, keepalive.

What a stream means is its owner's business (:mod:`.server_connection`, :mod:`.client`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import structlog

from rstore_wire import frames
from rstore_wire.frames import Code, WireError, Work
from rstore_wire.headers import MAX_HEADER_LIST_BYTES
from rstore_wire.limits import Limits
from rstore_wire.round_trips import tcp_round_trip_seconds
from rstore_wire.stream import STREAM_WINDOW_BYTES, Stream

_log = structlog.get_logger(__name__)

MAX_BLOCK_BYTES = 2 * MAX_HEADER_LIST_BYTES
SMALL_WINDOW_BYTES = 1_024
"""A smaller window update, while something waits for it, counts as work."""
KEEPALIVE_SECONDS = 10.0
KEEPALIVE_TIMEOUT_SECONDS = 5.0
LINGER_SECONDS = 1.0
_PING_DATA = b"rstoreka"

# Looked at for every frame: names of this module are found faster than another's.
_unpack = frames.FRAME_HEADER.unpack_from
_HEADER_BYTES = frames.FRAME_HEADER_BYTES
_MAX_FRAME_BYTES = frames.DEFAULT_MAX_FRAME_BYTES
_MAX_STREAM = frames.MAX_STREAM
_DATA, _HEADERS, _CONTINUATION = frames.DATA, frames.HEADERS, frames.CONTINUATION
_END_STREAM, _END_HEADERS, _PADDED = frames.END_STREAM, frames.END_HEADERS, frames.PADDED
_PADDED_OR_WITH_PRIORITY = frames.PADDED | frames.HAS_PRIORITY


class WorkBudget:
    """Counts the frames of one connection that bring no call forward, by kind and second."""

    __slots__ = ("_counts", "_per_second", "_since")

    def __init__(self, per_second: dict[Work, int]) -> None:
        self._per_second = per_second
        self._counts: dict[Work, int] = {}
        self._since = 0.0

    def spend(self, work: Work, now: float) -> None:
        """Counts one frame at ``now`` seconds. Raises WireError when there were too many of its kind in a second."""
        if now - self._since >= 1.0:
            self._since = now
            self._counts.clear()
        count = self._counts[work] = self._counts.get(work, 0) + 1
        if count > self._per_second[work]:
            raise WireError(Code.ENHANCE_YOUR_CALM, f"too many frames of the kind {work.value!r}")


class Connection(asyncio.Protocol):
    """One end of a connection. A subclass says what headers mean, which streams there may be, and what is refused."""

    def __init__(
        self,
        *,
        window_bytes: int,
        max_streams: int | None,
        limits: Limits,
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
        """True while the other side does not read: what is queued stays in its stream."""
        self.pending_bytes = 0
        """Queued in all streams, and not handed to the network yet."""
        self.limits = limits
        self.closing = False
        self.stream_window_bytes = stream_window_bytes
        self.last_stream = 0
        """The newest one that the other side has begun: whatever is newer has not been looked at."""
        self.peer_name = "unknown"
        """Address and port of the other side."""
        self._window_bytes = window_bytes
        self._max_streams = max_streams
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flush_planned = False
        self._rest = b""
        self._taking_later = self._reading_paused = False
        self._settings_came = False
        self._uncredited, self._credited_at = 0, window_bytes // 2
        self._block: bytearray | None = None
        self._block_stream = self._block_flags = 0
        self._blocked: dict[int, Stream] = {}
        self.received_at = self.loop.time()
        """When something came last, in the loop's time."""
        self._pinged_at = 0.0
        self._work = WorkBudget(limits.work_per_second)
        self._unread_answers = 0
        self._keepalive: asyncio.TimerHandle | None = None

    @property
    def round_trip_seconds(self) -> float | None:
        """How long a round trip to the other side takes, as TCP measures it; None where the system does not tell."""
        plain = self._transport.get_extra_info("socket") if self._transport is not None else None
        return tcp_round_trip_seconds(plain) if plain is not None else None

    # ------------------------------------------------------------------ asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says what is expected of the other side."""
        name = transport.get_extra_info("peername")
        if name:
            address = plain_address(name[0])
            self.peer_name = f"[{address}]:{name[1]}" if ":" in address else f"{address}:{name[1]}"
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
        for stream in list(self.streams.values()):
            stream.connection_lost()
            self.forget(stream)
        self._on_end(self)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self.congested = True

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self.congested = False
        self._unread_answers = 0
        self._send_blocked()
        for stream in list(self.streams.values()):
            stream.notice_room()

    def data_received(self, data: bytes) -> None:
        """Takes the frames that are complete; of very many, the rest in the next round of the loop."""
        if self.closing:
            return
        self.received_at = self.loop.time()
        if self._rest:
            data = self._rest + data
        self._rest = data
        if not self._taking_later:
            self._take()

    def _take(self) -> None:
        self._taking_later = False
        data = self._rest
        if self.closing or not (self._settings_came or self._begins_with_settings(data)):
            return
        try:
            taken, more = self._take_frames(data)
        except WireError as error:
            self.fail(error.code, str(error))
            return
        self._rest = data[taken:]
        if more:
            self._taking_later = True
            self.loop.call_soon(self._take)
        if more is not self._reading_paused and self._transport is not None:
            self._reading_paused = more
            if more:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _begins_with_settings(self, data: bytes) -> bool:
        """Whether the first frame is there; the connection fails unless it is SETTINGS (section 3.4)."""
        if len(data) < _HEADER_BYTES:
            return False
        self._settings_came = True
        if _unpack(data)[2] != frames.SETTINGS:
            self.fail(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            return False
        return True

    def eof_received(self) -> bool:
        """The other side is done: so is this one."""
        return False

    # ------------------------------------------------------------------ out

    def write(self, data: bytes) -> None:
        """Sends with all else that is sent in this round of the loop."""
        self._out.append(data)
        self._out_bytes += len(data)
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
        self._out_bytes = 0
        if self._blocked and self.may_send:
            self.loop.call_soon(self._send_blocked)

    def fail(self, code: Code, text: str) -> None:
        """Closes, and says why to the other side and to :meth:`failed`."""
        if self.closing:
            return
        self.failed(code, text)
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
    def may_send(self) -> bool:
        """Whether queued data may go now: the window is open, and the network takes it."""
        return self.send_window > 0 and not self.congested and self._out_bytes < self.limits.slice_bytes

    @property
    def is_unread(self) -> bool:
        """Whether the other side has left more unread than it may."""
        transport = self._transport
        in_network = transport.get_write_buffer_size() if self.congested and transport is not None else 0
        return self.pending_bytes + in_network > self.limits.unread_bytes_per_connection

    def note_pending(self, more_bytes: int) -> None:
        """Counts what was queued in a stream, or (negative) left it."""
        self.pending_bytes += more_bytes

    def wait_to_send(self, stream: Stream) -> None:
        """Calls ``send_pending`` of the stream once :attr:`may_send` is true again, in turn with others that wait."""
        self._blocked[stream.id] = stream

    def _send_blocked(self) -> None:
        while self._blocked and self.may_send and not self.closing:
            self._blocked.pop(next(iter(self._blocked))).send_pending()

    def forget(self, stream: Stream) -> None:
        """The stream has ended on both sides."""
        self.streams.pop(stream.id, None)
        if self._blocked:
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

    def failed(self, code: Code, text: str) -> None:
        """The connection is closed because the other side broke the protocol or asked for too much."""
        _log.info("connection_refused", peer=self.peer_name, code=code.name, reason=text)

    def reason_to_end(self, now: float) -> str | None:
        """Why the connection should end although it is in order; None: it may go on. Asked every few seconds."""

    def _take_frames(self, data: bytes) -> tuple[int, bool]:
        """Takes whole frames, up to a bound; returns how many bytes that were, and whether more wait.

        Raises WireError.
        """
        at, size = 0, len(data)
        left = self.limits.frames_per_round
        while size - at >= _HEADER_BYTES:
            if not left:
                return at, True
            left -= 1
            high, low, kind, flags, stream = _unpack(data, at)
            stream &= _MAX_STREAM
            length = high << 8 | low
            if length > _MAX_FRAME_BYTES:
                raise WireError(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = at + _HEADER_BYTES
            end = start + length
            if end > size:
                break
            at = end
            if self._block is not None and kind != _CONTINUATION:
                raise WireError(Code.PROTOCOL_ERROR, "headers do not go on")
            if kind == _DATA:
                self._on_data(flags, stream, data[start:end], length)
            elif kind == _HEADERS:
                self._on_headers(flags, stream, data[start:end])
            else:
                self._on_other(kind, flags, stream, data[start:end])
            if self.closing:
                return size, False
        return at, False

    def _on_data(self, flags: int, number: int, payload: bytes, length: int) -> None:
        # The connection's window is credited for what has come, taken or not: a stream's own window bounds it.
        self._uncredited += length
        if self._uncredited > self._credited_at:
            self.write(frames.window_update(0, self._uncredited))
            self._uncredited = 0
        stream = self.streams.get(number)
        if stream is None:
            if not number or self.is_idle(number):
                raise WireError(Code.PROTOCOL_ERROR, f"data on stream {number}, which is idle")
            self.spend(Work.OTHER)  # it was reset a moment ago
            return
        if stream.ended_there:
            self.spend(Work.OTHER)
            stream.refuse(Code.STREAM_CLOSED)
            return
        if length > stream.receive_window:
            raise WireError(Code.FLOW_CONTROL_ERROR, f"more than the window of stream {number}")
        stream.receive_window -= length
        if flags & _PADDED:
            payload = frames.unpadded(_PADDED, payload)
            stream.credit(length - len(payload))
        end = flags & _END_STREAM
        if not payload and not end:
            self.spend(Work.OTHER)
        stream.data_received(payload, end=bool(end))

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise WireError(Code.PROTOCOL_ERROR, "headers on no stream")
        if flags & _PADDED_OR_WITH_PRIORITY:
            payload = frames.unpadded(flags, payload)
        if flags & _END_HEADERS:
            self.headers_received(number, payload, end=bool(flags & _END_STREAM))
        else:
            self._block, self._block_stream, self._block_flags = bytearray(payload), number, flags

    def _on_other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._on_window_update(number, frames.read_u32(payload))
        elif kind == frames.CONTINUATION:
            if self._block is None or number != self._block_stream:
                raise WireError(Code.PROTOCOL_ERROR, "a continuation of nothing")
            self.spend(Work.OTHER)
            self._block += payload
            if len(self._block) > MAX_BLOCK_BYTES or not payload:
                raise WireError(Code.ENHANCE_YOUR_CALM, "headers without end")
            if flags & frames.END_HEADERS:
                block, self._block = bytes(self._block), None
                self.headers_received(number, block, end=bool(self._block_flags & frames.END_STREAM))
        elif kind == frames.PUSH_PROMISE:
            raise WireError(Code.PROTOCOL_ERROR, "nothing may be pushed")
        elif kind == frames.SETTINGS:
            self._on_settings(flags, number, payload)
        elif kind == frames.PING:
            self._on_ping(flags, number, payload)
        else:
            self._on_control(kind, number, payload)

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        self.spend(Work.PING)
        if number:
            raise WireError(Code.PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise WireError(Code.FRAME_SIZE_ERROR, "a ping of a wrong size")
        if not flags & frames.ACK:
            self.write(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _on_control(self, kind: int, number: int, payload: bytes) -> None:
        if kind == frames.RST_STREAM:
            self.spend(Work.RESET)
            code = frames.read_u32(payload)
            if not number or self.is_idle(number):
                raise WireError(Code.PROTOCOL_ERROR, f"reset of stream {number}, which is idle")
            stream = self.streams.get(number)
            if stream is not None:
                stream.reset_received(code)
            return
        self.spend(Work.OTHER)
        if kind == frames.GOAWAY:
            if number:
                raise WireError(Code.PROTOCOL_ERROR, "a stream goes away")
            self.goaway_received(frames.read_u32(payload[:4]))
        elif kind == frames.PRIORITY:
            if not number:
                raise WireError(Code.PROTOCOL_ERROR, "the priority of no stream")
            if len(payload) != 5 and number in self.streams:
                self.streams[number].refuse(Code.FRAME_SIZE_ERROR)

    def spend(self, work: Work) -> None:
        """Bounds what the other side can make this one do for nothing. Raises WireError."""
        self._work.spend(work, self.received_at)
        if self.congested:
            self._unread_answers += 1
            if self._unread_answers > self.limits.unread_answers:
                raise WireError(Code.ENHANCE_YOUR_CALM, "answers are not read")

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        self.spend(Work.SETTINGS)
        if number:
            raise WireError(Code.PROTOCOL_ERROR, "settings of a stream")
        if flags & frames.ACK:
            if payload:
                raise WireError(Code.FRAME_SIZE_ERROR, "an acknowledgement of settings with something in it")
            return
        pairs = frames.read_settings(payload)
        if len(pairs) > self.limits.settings_per_frame:
            raise WireError(Code.ENHANCE_YOUR_CALM, f"{len(pairs)} settings in a frame")
        for name, value in pairs:
            frames.check_setting(name, value, of_server=self._max_streams is None)
        values = dict(pairs)  # the last of each name counts
        self.peer_max_frame = values.get(frames.SETTING_MAX_FRAME_SIZE, self.peer_max_frame)
        # The acknowledgement goes first: the other side counts with the new values only from then on.
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        window = values.get(frames.SETTING_INITIAL_WINDOW_SIZE, self.peer_initial_window)
        difference, self.peer_initial_window = window - self.peer_initial_window, window
        for stream in list(self.streams.values()) if difference else ():
            stream.send_window += difference
            if stream.send_window > frames.MAX_WINDOW:
                raise WireError(Code.FLOW_CONTROL_ERROR, "a window out of bounds")
            stream.send_pending()

    def _on_window_update(self, number: int, more: int) -> None:
        if number:
            self._on_window_of_stream(number, more)
            return
        if self._blocked and more < SMALL_WINDOW_BYTES:
            self.spend(Work.SMALL_WINDOW)
        self.send_window += more
        if not more:
            raise WireError(Code.PROTOCOL_ERROR, "a window update of zero")
        if self.send_window > frames.MAX_WINDOW:
            raise WireError(Code.FLOW_CONTROL_ERROR, "a window out of bounds")
        self._send_blocked()

    def _on_window_of_stream(self, number: int, more: int) -> None:
        stream = self.streams.get(number)
        if stream is None:
            if self.is_idle(number):
                raise WireError(Code.PROTOCOL_ERROR, f"a window of stream {number}, which is idle")
            return
        if not more:
            self.spend(Work.OTHER)
            stream.refuse(Code.PROTOCOL_ERROR)
        elif stream.send_window + more > frames.MAX_WINDOW:
            self.spend(Work.OTHER)
            stream.refuse(Code.FLOW_CONTROL_ERROR)
        else:
            if more < SMALL_WINDOW_BYTES and stream.is_pending:
                self.spend(Work.SMALL_WINDOW)
            stream.send_window += more
            stream.send_pending()

    # ------------------------------------------------------------------ keepalive

    def _keep_alive(self) -> None:
        """Asks whether the other side is there when nothing has come for a while."""
        now = self.loop.time()
        reason = self.reason_to_end(now)
        if reason is not None:
            _log.info("connection_ended", peer=self.peer_name, reason=reason)
            self.close()
            return
        silent = now - self.received_at
        if self._pinged_at > self.received_at:
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
