"""One HTTP/2 stream that carries gRPC's messages, the same for both ends: what it still has to send, what has come."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from enum import Enum
from struct import Struct
from typing import Protocol

from rstore_wire import frames
from rstore_wire.frames import Code
from rstore_wire.messages import PREFIX, PREFIX_BYTES, Arrived, MessageReader, prefixed

_pack_header = frames.FRAME_HEADER.pack
_pack_message = Struct(">HBxxIxI").pack
"""The header of a DATA frame, whose kind and flags are 0, and the prefix of the message in it."""

STREAM_WINDOW_BYTES = 4 << 20
"""How much of a stream may come that nobody has taken yet, where the connection says nothing else."""

MAX_QUEUED_BYTES = 1 << 20
"""Of messages that have been sent by the one side's program and not yet left; more, and the program waits."""


class State(Enum):
    """Where a stream is (RFC 9113, section 5.1), by which sides have ended their half."""

    OPEN = (False, False)
    HALF_CLOSED_LOCAL = (True, False)
    HALF_CLOSED_REMOTE = (False, True)
    CLOSED = (True, True)


class Carrier(Protocol):
    """What a stream needs of its connection."""

    loop: asyncio.AbstractEventLoop
    send_window: int
    peer_initial_window: int
    peer_max_frame: int
    stream_window_bytes: int
    congested: bool
    closing: bool

    @property
    def may_send(self) -> bool:
        """Whether queued data may go now: the window is open, and the network takes it."""

    @property
    def round_trip_seconds(self) -> float | None:
        """How long a round trip to the other side takes; None where the system does not tell."""

    def write(self, data: bytes) -> None:
        """Sends frames with all else that is sent in this round of the loop."""

    def flush(self) -> None:
        """Hands what was written to the network now."""

    def note_pending(self, more_bytes: int) -> None:
        """Counts what was queued in a stream, or (negative) left it."""

    def wait_to_send(self, stream: Stream) -> None:
        """Calls ``send_pending`` of the stream once ``may_send`` is true again."""

    def forget(self, stream: Stream) -> None:
        """Drops a stream that has ended on both sides."""

    def close(self) -> None:
        """Sends what is to be sent and closes."""


class Stream(ABC):
    """One stream. A subclass says what it does with what comes: data, a reset, the loss of the connection.

    Each of these leaves it in a state that RFC 9113 allows; a stream whose :attr:`state` is CLOSED is forgotten by its
    connection, and is given nothing more.
    """

    __slots__ = (
        "_arrived",
        "_counted_bytes",
        "_end_block",
        "_pending",
        "_pending_bytes",
        "_readable",
        "_reader",
        "_window_owed",
        "_writable",
        "connection",
        "ended_here",
        "ended_there",
        "id",
        "receive_window",
        "send_window",
    )

    def __init__(self, connection: Carrier, number: int) -> None:
        self.connection = connection
        self.id = number
        self.receive_window = connection.stream_window_bytes
        self.send_window = connection.peer_initial_window
        self.ended_here = self.ended_there = False
        self._pending: deque[memoryview] = deque()
        self._pending_bytes = self._counted_bytes = 0
        self._end_block: bytes | None = None
        self._reader: MessageReader | None = None
        self._arrived: deque[Arrived] = deque()
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._window_owed = 0

    @property
    def state(self) -> State:
        """Where the stream is."""
        return State((self.ended_here, self.ended_there))

    # ------------------------------------------------------------------ out

    @property
    def is_pending(self) -> bool:
        """Whether something is queued that the other side's window, or the network, does not take yet."""
        return bool(self._pending) or (self._end_block is not None and not self.ended_here)

    @property
    def must_wait(self) -> bool:
        """Whether a program that sends many messages has to let the other side catch up."""
        return self._pending_bytes > MAX_QUEUED_BYTES or (self.connection.congested and not self.ended_here)

    @property
    def round_trip_seconds(self) -> float | None:
        """How long a round trip to the other side takes; None where the system does not tell."""
        return self.connection.round_trip_seconds

    def queue_message(self, message: bytes) -> None:
        """Sends a message as far as the windows allow, the rest later. A large one is not copied as a whole."""
        size = len(message) + PREFIX_BYTES
        if self._goes_now(size):
            self.connection.write(_pack_message(size >> 8, size & 0xFF, self.id, size - PREFIX_BYTES) + message)
        elif size > frames.DEFAULT_MAX_FRAME_BYTES:
            self._queue(PREFIX.pack(0, len(message)), message)
        else:
            self._queue(prefixed(message))

    def queue_encoded(self, data: bytes) -> None:
        """Sends messages that have their prefixes."""
        size = len(data)
        if self._goes_now(size):
            self.connection.write(_pack_header(size >> 8, size & 0xFF, frames.DATA, 0, self.id) + data)
        else:
            self._queue(data)

    def _goes_now(self, size: int) -> bool:
        """Whether so much may be sent at once in one frame, as it nearly always may; if so, the windows count it."""
        connection = self.connection
        if (
            self._pending
            or self._end_block is not None
            or self.ended_here
            or size > self.send_window
            or size > connection.send_window
            or size > frames.DEFAULT_MAX_FRAME_BYTES
            or not connection.may_send
        ):
            return False
        self.send_window -= size
        connection.send_window -= size
        return True

    def _queue(self, *parts: bytes) -> None:
        for part in parts:
            self._pending.append(memoryview(part))
            self._pending_bytes += len(part)
        self.send_pending()
        self._count_pending()

    def end_with(self, block: bytes | None) -> None:
        """Ends this side's half, with a block of trailers or (None) without, behind what is pending."""
        self._end_block = b"" if block is None else block
        self.send_pending()

    def send_pending(self) -> None:
        """Sends what the windows allow and the network takes."""
        if self.ended_here:
            return
        if self._pending:
            self._send_data()
            self._count_pending()
        if self._end_block is not None and not self._pending:
            if self.connection.congested:
                self.connection.wait_to_send(self)
            else:
                self._send_end(self._end_block)
        self.notice_room()

    def _send_data(self) -> None:
        connection, sent = self.connection, 0
        while self._pending and self.send_window > 0:
            if not connection.may_send:
                connection.wait_to_send(self)
                break
            view = self._pending[0]
            part = view[: min(self.send_window, connection.send_window, connection.peer_max_frame)]
            size = len(part)
            if size == len(view):
                self._pending.popleft()
            else:
                self._pending[0] = view[size:]
            self.send_window -= size
            connection.send_window -= size
            sent += size
            connection.write(_pack_header(size >> 8, size & 0xFF, frames.DATA, 0, self.id) + part)
        self._pending_bytes -= sent

    def _count_pending(self) -> None:
        more = self._pending_bytes - self._counted_bytes
        if more:
            self._counted_bytes = self._pending_bytes
            self.connection.note_pending(more)

    def drop_pending(self) -> None:
        """Drops what is queued."""
        self._pending.clear()
        self._pending_bytes = 0
        self._count_pending()

    def _send_end(self, block: bytes) -> None:
        self.ended_here = True
        if block:
            frame_bytes = self.connection.peer_max_frame
            self.connection.write(frames.header_block(self.id, block, end_stream=True, max_frame_bytes=frame_bytes))
        else:
            self.connection.write(frames.frame(frames.DATA, frames.END_STREAM, self.id))
        self._half_ended()

    def _half_ended(self) -> None:
        if self.ended_here and self.ended_there:
            self.connection.forget(self)

    def reset(self, code: Code) -> None:
        """Ends both halves at once."""
        if not (self.ended_here and self.ended_there):
            self.ended_here = self.ended_there = True
            self.drop_pending()
            if not self.connection.closing:
                self.connection.write(frames.rst_stream(self.id, code))
            self.connection.forget(self)
        self.notice_all()

    def notice_room(self) -> None:
        """Wakes the task that waits to send, if there is room."""
        if self._writable is not None and not self._writable.done() and not self.must_wait:
            self._writable.set_result(None)

    def flush(self) -> None:
        """Hands what was sent to the network now, not at the end of this round of the loop."""
        self.connection.flush()

    async def wait_for_room(self) -> None:
        """Returns once more may be queued, or the stream has ended. For one task at a time."""
        while self.must_wait and not self.ended_here:
            self._writable = self.connection.loop.create_future()
            await self._writable

    # ------------------------------------------------------------------ in

    @abstractmethod
    def data_received(self, payload: bytes, *, end: bool) -> None:
        """Takes a part of the stream's data; ``end``: there is no more, and the other side's half has ended."""

    def take_messages(self, reader: MessageReader, payload: bytes) -> bool:
        """Queues the messages that are complete, as they came; False when there is none. Raises MessageError.

        Only what waits to be taken uses up the window, not what has come of a message that is not complete: one that
        is larger than the window could never come otherwise. What was credited for its parts is owed again once it
        waits, so that a side that takes nothing is sent a window and one message at most.
        """
        self._reader = reader
        credited = reader.incomplete_bytes
        complete = reader.feed(payload)
        if not complete:
            self.credit(len(payload))
            return False
        self._arrived += complete
        more = reader.incomplete_bytes - credited
        if more:
            self.credit(more)
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)
        return True

    def next_message(self) -> bytes | None:
        """The next message that has come. Raises MessageError when it cannot be decompressed.

        The other side may send as much again as it has sent, and not what that has become here: compressed messages
        would otherwise let its window grow, and what waits here with it.
        """
        if not self._arrived or self._reader is None:
            return None
        message = self._arrived.popleft()
        self.credit(message.wire_bytes)
        return self._reader.unpacked(message)

    def credit(self, size: int) -> None:
        """Lets the other side send ``size`` bytes more; it is notified in large steps."""
        self._window_owed += size
        if self._window_owed >= self.connection.stream_window_bytes // 2 and not self.ended_there:
            self.connection.write(frames.window_update(self.id, self._window_owed))
            self.receive_window += self._window_owed
            self._window_owed = 0

    async def wait_for_message(self) -> None:
        """Returns once a message has come, or none will. For one task at a time."""
        while not self._arrived and not self.ended_there:
            self._readable = self.connection.loop.create_future()
            await self._readable

    def notice_all(self) -> None:
        """Wakes the tasks that wait for messages or for room."""
        for future in (self._readable, self._writable):
            if future is not None and not future.done():
                future.set_result(None)

    @abstractmethod
    def refuse(self, code: Code) -> None:
        """Ends both halves with a stream error (section 5.4.2), since the other side has broken the protocol."""

    @abstractmethod
    def reset_received(self, code: int) -> None:
        """Ends both halves, since the other side has given the stream up."""

    @abstractmethod
    def connection_lost(self) -> None:
        """Ends both halves, since the connection is gone."""
