"""etcd's Watch service, answered from this replica's own data, in every region and by followers, too."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from rstore_api.errors import NoLeader, ShuttingDown, StoreError
from rstore_api.methods import WATCH
from rstore_api.proto import rpc_pb2
from rstore_api.protobuf import nested, tag

from rstore_replica.api.calls import Context
from rstore_replica.api.identity import Identity
from rstore_replica.api.ports import Group
from rstore_replica.api.watch.pump import Pump
from rstore_replica.api.watch.stream import StreamBounds, WatchStream

MAX_WATCHES = 50_000
"""Of all streams of a replica."""
MAX_WATCHES_OF_CONNECTION = 20_000
MAX_WATCHES_OF_STREAM = 10_000
MAX_KEY_BYTES_OF_WATCHES = 64 << 20
"""Of keys and range ends of all watches of a replica."""
PROGRESS_SECONDS = 600.0
"""Between two notices of progress of a watch to which nothing happens, as in etcd."""
NO_LEADER_SECONDS = 3.0
"""Without a leader for so long, the streams end that asked for one: etcd's three election timeouts."""
REQUESTS_AT_ONCE = 256
"""Of one stream; then others on the event loop have a turn."""
TICK_SECONDS = 0.5
_NO_HEADER = (-1, b"")
REQUIRE_LEADER = ("hasleader", "true")

Refusals = Callable[[Context], Callable[[bytes, bytes], str]]
"""At the beginning of a stream, what returns why its caller may not watch a key and range end; "" where it may."""


def no_refusals(_context: Context) -> Callable[[bytes, bytes], str]:
    """Where nobody's access is restricted."""
    return lambda _key, _range_end: ""


class WatchService:
    """The streams of all clients, and what they may have together."""

    def __init__(
        self,
        *,
        pump: Pump,
        group: Group,
        identity: Identity,
        fragment_bytes: int,
        refusals: Refusals = no_refusals,
        on_refusal: Callable[[str], object] = lambda _reason: None,
        progress_seconds: float = PROGRESS_SECONDS,
        no_leader_seconds: float = NO_LEADER_SECONDS,
    ) -> None:
        """``fragment_bytes`` is from which size on an answer is sent in parts, where parts are wanted; ``on_refusal``
        counts what was refused.
        """
        self._pump = pump
        self._group = group
        self._identity = identity
        self._fragment_bytes = fragment_bytes
        self._refusals = refusals
        self._on_refusal = on_refusal
        self._progress_seconds = progress_seconds
        self._no_leader_seconds = no_leader_seconds
        self._streams: dict[WatchStream, _Served] = {}
        self._asking: dict[WatchStream, None] = {}
        """Streams that wait for an answer about their progress."""
        self._of_connection: Counter[str] = Counter()
        self._key_bytes = 0
        self._header = _NO_HEADER
        group.on_change(self._term_changed)
        self._stopping = False
        pump.on_caught_up = self._report_progress

    @property
    def watches(self) -> int:
        """How many watches there are."""
        return self._of_connection.total()

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        service, name = WATCH.path.strip("/").split("/")
        handler = grpc.stream_stream_rpc_method_handler(self.watch, WATCH.request.FromString, bytes)
        server.add_registered_method_handlers(service, {name: handler})

    def close(self) -> None:
        """Ends all streams: their clients go on at other replicas."""
        self._stopping = True
        for served in self._streams.values():
            served.end(ShuttingDown())

    async def run(self) -> None:
        """Sends notices of progress, and ends what cannot go on without a leader; for ever."""
        clock = asyncio.get_running_loop().time
        led_at = clock()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = clock()
            if self._group.status().leader is not None:
                led_at = now
            for stream, served in list(self._streams.items()):
                if served.needs_leader and now - led_at >= self._no_leader_seconds:
                    served.end(NoLeader())
                elif now >= served.notices_at:
                    served.notices_at = now + self._progress_seconds
                    stream.notify_progress()

    async def watch(self, requests: AsyncIterator[rpc_pb2.WatchRequest], context: Context) -> None:
        """Serves one stream until its client leaves; that no more requests come does not end it, as in etcd."""
        needs_leader = REQUIRE_LEADER in (context.invocation_metadata() or ())
        if self._stopping:
            await _abort(context, ShuttingDown())
        if needs_leader and self._group.status().leader is None:
            await _abort(context, NoLeader())
        loop = asyncio.get_running_loop()
        own = _Count()
        stream = WatchStream(
            context,
            self._pump,
            header=self._encoded_header,
            refusal_of=self._refusals(context),
            bounds=StreamBounds(
                admit=partial(self._admit, context.peer(), own),
                dismiss=partial(self._dismiss, context.peer(), own),
                fragment_bytes=self._fragment_bytes,
            ),
        )
        served = self._streams[stream] = _Served(
            loop.create_future(), needs_leader, loop.time() + self._progress_seconds
        )
        reading = loop.create_task(self._take(stream, requests))
        reading.add_done_callback(served.reading_ended)
        try:
            error = await served.ended
        finally:
            reading.cancel()
            stream.close()
            del self._streams[stream]
            self._asking.pop(stream, None)
        await _abort(context, error)

    async def _take(self, stream: WatchStream, requests: AsyncIterator[rpc_pb2.WatchRequest]) -> None:
        """Carries out what the client asks for, one after the other, while it takes answers."""
        handled = 0
        async for request in requests:
            await self._pump.known()
            await stream.ready()
            stream.handle(request)
            if stream.progress_wanted:
                self._asking[stream] = None
            handled += 1
            if handled % REQUESTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _report_progress(self) -> None:
        for stream in list(self._asking):
            stream.report_progress()
            if not stream.progress_wanted:
                del self._asking[stream]

    def _encoded_header(self, revision: int) -> bytes:
        """Returns the field of a header; the same for all events of a revision."""
        if self._header[0] != revision:
            header = rpc_pb2.ResponseHeader()
            self._identity.fill(header, revision=revision)
            self._header = revision, nested(tag(1), header.SerializeToString())
        return self._header[1]

    def _term_changed(self, _status: object) -> None:
        self._header = _NO_HEADER

    # ------------------------------------------------------------------ bounds

    def _admit(self, peer: str, own: _Count, key_bytes: int) -> bool:
        if (
            own.watches >= MAX_WATCHES_OF_STREAM
            or self._of_connection[peer] >= MAX_WATCHES_OF_CONNECTION
            or self.watches >= MAX_WATCHES
            or self._key_bytes + key_bytes > MAX_KEY_BYTES_OF_WATCHES
        ):
            self._on_refusal("watches")
            return False
        own.watches += 1
        self._of_connection[peer] += 1
        self._key_bytes += key_bytes
        return True

    def _dismiss(self, peer: str, own: _Count, key_bytes: int) -> None:
        own.watches -= 1
        self._of_connection[peer] -= 1
        self._key_bytes -= key_bytes
        if not self._of_connection[peer]:
            del self._of_connection[peer]


@dataclass
class _Count:
    watches: int = 0


@dataclass
class _Served:
    """A stream while it is served."""

    ended: asyncio.Future[StoreError]
    needs_leader: bool
    notices_at: float

    def end(self, error: StoreError) -> None:
        """Ends it with a status."""
        if not self.ended.done():
            self.ended.set_result(error)

    def reading_ended(self, reading: asyncio.Task[None]) -> None:
        """No further requests come: that alone ends nothing, an error does."""
        error = None if reading.cancelled() else reading.exception()
        if error is not None and not self.ended.done():
            self.ended.set_exception(error)


async def _abort(context: Context, error: StoreError) -> None:
    await context.abort(*error.answer())
