"""One stream between two replicas, dialled by either: a bounded queue out, and the state of the other end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rstore_api.proto import raft_pb2 as pb
from rstore_api.protobuf import nested, tag

from rstore_replica.etcd_metrics import PeerTraffic

MAX_FRAME_BYTES = 2 << 20
QUEUE_BYTES = 32 << 20
QUEUE_MESSAGES = 8192
PING_SECONDS = 1.0

_ENVELOPES = tag(pb.RaftFrame.ENVELOPES_FIELD_NUMBER)


class Outlet(Protocol):
    """What takes a link's frames: one end of a gRPC stream."""

    @property
    def must_wait(self) -> bool:
        """Whether the other side has to catch up first."""

    @property
    def round_trip_seconds(self) -> float | None:
        """How long a round trip takes; None where it is not known."""

    def queue_message(self, message: bytes, /) -> None:
        """Sends one message."""

    def flush(self) -> None:
        """Hands what was sent to the network now, not at the end of this round of the loop."""

    async def wait_for_room(self) -> None:
        """Returns once there is nothing to wait for, or the stream has ended."""


@dataclass(eq=False)
class Link:
    """All messages that are queued in one round of the event loop leave in one frame."""

    peer: str
    dialled: bool
    outlet: Outlet
    traffic: PeerTraffic
    session: int = 0
    queue: deque[bytes] = field(default_factory=deque)
    queued_bytes: int = 0
    closed: bool = False
    last_received: float = 0.0
    last_sent: float = 0.0
    on_close: Callable[[], object] | None = None
    _flush_planned: bool = False
    _waiting: asyncio.Task[None] | None = None
    _ping: asyncio.TimerHandle | None = None

    def open(self, hello: pb.RaftHello) -> None:
        """Introduces this replica; from then on an empty frame each second of silence shows that this side is alive."""
        self.outlet.queue_message(pb.RaftFrame(hello=hello).SerializeToString())
        self._keep_alive()

    def put(self, envelope: pb.RaftEnvelope) -> bool:
        """Queues a message; False when the queue is full or the link closed."""
        data = envelope.SerializeToString()
        size = len(data)
        if self.closed or len(self.queue) >= QUEUE_MESSAGES or self.queued_bytes + size > QUEUE_BYTES:
            return False
        self.queue.append(data)
        self.queued_bytes += size
        if not self._flush_planned:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self._flush)
        return True

    def close(self) -> None:
        """Nothing more is sent. May be called again."""
        if self.closed:
            return
        self.closed = True
        for pending in (self._waiting, self._ping):
            if pending is not None:
                pending.cancel()
        if self.on_close is not None:
            self.on_close()

    def _flush(self) -> None:
        self._flush_planned = False
        while self.queue and not self.closed:
            if self.outlet.must_wait:
                self._flush_planned = True
                self._waiting = asyncio.get_running_loop().create_task(self._flush_later())
                return
            self._send(self._next_frame())
        self.outlet.flush()

    async def _flush_later(self) -> None:
        await self.outlet.wait_for_room()
        self._flush()

    def _send(self, frame: bytes) -> None:
        self.last_sent = asyncio.get_running_loop().time()
        self.traffic.sent_bytes += len(frame)
        self.outlet.queue_message(frame)

    def _next_frame(self) -> bytes:
        """As much of the queue as fits one frame."""
        envelopes: list[bytes] = []
        size = 0
        while self.queue and (not size or size + len(self.queue[0]) <= MAX_FRAME_BYTES):
            data = self.queue.popleft()
            size += len(data)
            envelopes.append(nested(_ENVELOPES, data))
        self.queued_bytes -= size
        return b"".join(envelopes)

    def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        quiet = loop.time() - self.last_sent
        if quiet >= PING_SECONDS:
            quiet = 0.0
            if not self.outlet.must_wait:
                self._send(b"")  # a frame without envelopes
        self._ping = loop.call_later(PING_SECONDS - quiet, self._keep_alive)
