"""The watches of one client's stream: what it asks for, and what is sent to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from rstore_api.errors import TooManyRequests
from rstore_api.proto import rpc_pb2
from rstore_api.protobuf import varint

from rstore_replica.api.watch.pump import Pump
from rstore_replica.mvcc.watch.events import Batch, Want
from rstore_replica.mvcc.watch.hub import Watcher
from rstore_replica.mvcc.watch.ranges import Span

NO_WATCH = -1
"""The id in answers that are about no watch, or about all of a stream."""
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE = "mvcc: watcher range is empty"

_WATCH_ID, _FRAGMENT = bytes((2 << 3,)), bytes((7 << 3, 1))
"""Of a WatchResponse: the tag of ``watch_id``, and ``fragment: true``."""
MAX_ID_FIELD_BYTES = 11


class StreamContext(Protocol):
    """What a stream needs of its call (``rstore_wire.call.Call``)."""

    def offer(self, message: bytes, /) -> bool:
        """Sends a message; False, and nothing is sent, while the client does not keep up."""

    def offer_each(self, before: bytes, middles: Sequence[bytes], after: bytes, /) -> int:
        """Sends the messages that consist of ``before``, a middle and ``after``, in order, while the client keeps up;
        returns how many.
        """

    async def wait_for_room(self) -> None:
        """Returns once messages are taken again, or the call has ended."""


@dataclass(frozen=True)
class StreamBounds:
    """What one stream may have."""

    admit: Callable[[int], bool]
    """Counts one more watch of so many bytes of keys; False: there are too many."""
    dismiss: Callable[[int], None]
    """Counts one less."""
    fragment_bytes: int
    """A larger answer is sent in parts to a watch that asked for that."""


class WatchStream:
    """A sink of the hub, and the place where a client's requests are carried out, one after the other."""

    def __init__(
        self,
        context: StreamContext,
        pump: Pump,
        *,
        header: Callable[[int], bytes],
        refusal_of: Callable[[bytes, bytes], str],
        bounds: StreamBounds,
    ) -> None:
        """``header`` returns an encoded header at a revision, ``refusal_of`` why the client may not watch a key
        and range end, "" where it may.
        """
        self._context = context
        self._pump = pump
        self._hub = pump.hub
        self._header = header
        self._refusal_of = refusal_of
        self._bounds = bounds
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._waiting: deque[bytes] = deque()
        """Answers that are no events and found no room; at most one for each watch."""
        self._room: asyncio.Task[None] | None = None
        self.progress_wanted = False
        """Whether the client waits for the answer that all its watches have been shown everything."""
        self._quiet: dict[Watcher, None] = {}
        """Those that have been sent nothing since the last notice of progress was due."""
        self._closed = False

    # ------------------------------------------------------------------ requests

    async def ready(self) -> None:
        """Returns once the client takes answers."""
        while self._room is not None and not self._closed:
            await asyncio.wait([self._room])

    def handle(self, request: rpc_pb2.WatchRequest) -> None:
        """Carries out one request. Await :meth:`ready` before."""
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            self._create(request.create_request)
        elif kind == "cancel_request":
            watcher = self._watchers.get(request.cancel_request.watch_id)
            if watcher is not None:
                self._forget(watcher)
                self._hub.remove(watcher)
                self._answer(rpc_pb2.WatchResponse(watch_id=watcher.number, canceled=True))
        elif kind == "progress_request":
            self.progress_wanted = True
            self.report_progress()

    def _create(self, request: rpc_pb2.WatchCreateRequest) -> None:
        span = span_of(request.key, request.range_end)
        refusal = self._refusal(request, span)
        if refusal:
            response = rpc_pb2.WatchResponse(watch_id=NO_WATCH, created=True, canceled=True, cancel_reason=refusal)
            self._answer(response)
            return
        number = request.watch_id or self._free_id()
        filters = request.filters
        want = Want(
            prev_kv=request.prev_kv,
            puts=rpc_pb2.WatchCreateRequest.NOPUT not in filters,
            deletions=rpc_pb2.WatchCreateRequest.NODELETE not in filters,
        )
        watcher = Watcher(
            self,
            number,
            span,
            want,
            id_field=_WATCH_ID + varint(number % (1 << 64)) if number else b"",
            fragment=request.fragment,
            notify_progress=request.progress_notify,
        )
        self._watchers[number] = watcher
        if watcher.notify_progress:
            self._quiet[watcher] = None
        self._answer(rpc_pb2.WatchResponse(watch_id=number, created=True))
        self._pump.begin(watcher, request.start_revision)

    def _refusal(self, request: rpc_pb2.WatchCreateRequest, span: Span) -> str:
        if refusal := self._refusal_of(request.key, request.range_end):
            return refusal
        if span.end is not None and span.end <= span.start:
            return EMPTY_RANGE
        if request.watch_id in self._watchers and request.watch_id:
            return DUPLICATE_ID
        return "" if self._bounds.admit(_cost(span)) else TooManyRequests.text

    def _free_id(self) -> int:
        while self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _forget(self, watcher: Watcher) -> None:
        if self._watchers.pop(watcher.number, None) is not None:
            self._quiet.pop(watcher, None)
            self._bounds.dismiss(_cost(watcher.span))

    def close(self) -> None:
        """Ends all watches; nothing more is sent."""
        self._closed = True
        for watcher in list(self._watchers.values()):
            self._forget(watcher)
            self._hub.remove(watcher)
        self._pump.wake()
        if self._room is not None:
            self._room.cancel()

    # ------------------------------------------------------------------ progress

    def report_progress(self) -> None:
        """Answers a request for progress, if there is one, once every watch has been shown everything."""
        if self.progress_wanted and all(map(self._hub.is_synced, self._watchers.values())):
            self.progress_wanted = False
            self._answer(rpc_pb2.WatchResponse(watch_id=NO_WATCH))

    def notify_progress(self) -> None:
        """Sends a notice to each watch that wants it, has been sent nothing since the last call, and is not behind."""
        for watcher in [each for each in self._quiet if self._room is None and self._hub.is_synced(each)]:
            self._answer(rpc_pb2.WatchResponse(watch_id=watcher.number))
        self._quiet = {watcher: None for watcher in self._watchers.values() if watcher.notify_progress}

    # ------------------------------------------------------------------ what the hub says

    def deliver(self, watchers: Sequence[Watcher], batch: Batch) -> int:
        """Sends the events that the watchers want, to those for whom there is room."""
        want = watchers[0].want
        events = batch.joined(want)
        if not events:
            return len(watchers)
        if self._room is not None:
            return 0
        header = self._header(batch.revision)
        if watchers[0].fragment and len(header) + MAX_ID_FIELD_BYTES + len(events) >= self._bounds.fragment_bytes:
            pieces = batch.events(want)
            sent = len(list(takewhile(lambda each: self._deliver_parts(header + each.id_field, pieces), watchers)))
        elif len(watchers) == 1:
            sent = int(self._context.offer(header + watchers[0].id_field + events))
        else:
            sent = self._context.offer_each(header, [watcher.id_field for watcher in watchers], events)
        if self._quiet:
            for watcher in watchers[:sent]:
                self._quiet.pop(watcher, None)
        if sent < len(watchers):
            self._wait_for_room()
        return sent

    def _deliver_parts(self, head: bytes, events: list[bytes]) -> bool:
        """All parts at once, if there is room for the first."""
        for number, (part, last) in enumerate(_parts(events, self._bounds.fragment_bytes - len(head))):
            message = head + (b"" if last else _FRAGMENT) + part
            if number:
                self._answer_later(message)
            elif not self._context.offer(message):
                return False
        return True

    def cancelled(self, watcher: Watcher, compact_revision: int) -> None:
        """Notifies the client that a watch has ended."""
        self._forget(watcher)
        response = rpc_pb2.WatchResponse(watch_id=watcher.number, canceled=True, compact_revision=compact_revision)
        self._answer(response, revision=0)

    def _answer(self, response: rpc_pb2.WatchResponse, revision: int | None = None) -> None:
        header = self._header(self._hub.shown if revision is None else revision)
        self._answer_later(header + response.SerializeToString())

    def _answer_later(self, message: bytes) -> None:
        """Sends in order, behind what waits."""
        if self._room is not None or not self._context.offer(message):
            self._waiting.append(message)
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        if self._room is None and not self._closed:
            self._room = asyncio.get_running_loop().create_task(self._go_on_with_room())

    async def _go_on_with_room(self) -> None:
        while True:
            await self._context.wait_for_room()
            while self._waiting and self._context.offer(self._waiting[0]):
                self._waiting.popleft()
            if not self._waiting:
                break
        self._room = None
        self._hub.resume(self)
        self._pump.wake()


def span_of(key: bytes, range_end: bytes) -> Span:
    """Returns etcd's (key, range end): no key is the first one, no end is the one key, "\\0" is to the last key."""
    start = key or b"\0"
    if not range_end:
        return Span(start, start + b"\0")
    return Span(start, None if range_end == b"\0" else range_end)


def _cost(span: Span) -> int:
    return len(span.start) + len(span.end or b"")


def _parts(events: list[bytes], max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Joins events up to a size, one at least; with each part whether it is the last."""
    part: list[bytes] = []
    size = 0
    for event in events:
        if part and size + len(event) >= max_bytes:
            yield b"".join(part), False
            part, size = [], 0
        part.append(event)
        size += len(event)
    yield b"".join(part), True
