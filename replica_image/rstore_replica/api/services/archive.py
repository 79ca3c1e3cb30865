"""The Archive service: the log of revisions, live, and the keys at one of them, for a store's archiver.

It costs the replica reading, and nothing waits for it: batches are read when the ones before have been taken. What the
archive has confirmed is where ``api/archive/keeping.py`` keeps rows from; a stream that gets on has those that it is
about to send, within the bounds that count for a region.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import grpc
from rstore_api import methods
from rstore_api.domain.forks import Chain
from rstore_api.errors import Compacted, DeadlineExceeded, NoLeader, NotReady, StoreError
from rstore_api.logs import get_logger
from rstore_api.messages import history_messages
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.api.archive.feed import Begin, Feed, base_revision, begin
from rstore_replica.api.archive.keeping import Keeping
from rstore_replica.api.calls import Context, info_of
from rstore_replica.api.turns import Turns
from rstore_replica.api.watch.pump import Pump
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft.clock import Clock
from rstore_replica.replication.config import ReplicationConfig
from rstore_replica.replication.history import Resume, compare
from rstore_replica.replication.messages import chain_of
from rstore_replica.replication.sending.history_hold import HistoryHold
from rstore_replica.replication.sending.snapshot_source import CHUNK_BYTES, CHUNK_ROWS

_log = get_logger(__name__)

MAX_FOLLOWERS, MAX_BASES = 4, 2
"""At a time: two archivers while one takes the place of the other, and somebody with the operator's certificate."""
MAX_WAITING = 8
POSITION_SECONDS = 1.0
"""Between two messages at most."""
GATHER_SECONDS = 0.1
"""Between two batches that are not full, so that a write at a time does not become a batch at a time."""
KNOWN_SECONDS = 5.0
"""Until it must be known what may be shown; another replica may know."""
UNREAD_SECONDS = 60.0
"""A caller that takes nothing for so long is given up."""

ResponseT = TypeVar("ResponseT")


class ArchiveService:
    """Answers on the peer port."""

    def __init__(
        self,
        *,
        machine: Machine,
        pump: Pump,
        clock: Clock,
        config: ReplicationConfig,
        has_leader: Callable[[], bool],
        keeping: Keeping,
    ) -> None:
        """``pump`` knows which revision may be shown; ``config`` for how long compaction waits for a stream;
        ``has_leader`` says whether this replica can know what is new in its region.
        """
        self._machine = machine
        self._pump = pump
        self._clock = clock
        self._config = config
        self._has_leader = has_leader
        self._keeping = keeping
        self._followers = Turns(places=MAX_FOLLOWERS, places_per_client=MAX_FOLLOWERS, max_waiting=MAX_WAITING)
        self._bases = Turns(places=MAX_BASES, places_per_client=MAX_BASES, max_waiting=MAX_WAITING)
        self._confirming = Turns(places=1, places_per_client=1, max_waiting=MAX_WAITING)

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        for method, turns, body in (
            (methods.ARCHIVE_FOLLOW, self._followers, self._follow),
            (methods.ARCHIVE_BASE, self._bases, self._base),
        ):
            service, name = method.path.strip("/").split("/")
            handler = grpc.unary_stream_rpc_method_handler(
                partial(_serve, method.path, turns, body),
                method.request.FromString,
                method.response.SerializeToString,
            )
            server.add_registered_method_handlers(service, {name: handler})
        confirm = methods.ARCHIVE_CONFIRM
        service, name = confirm.path.strip("/").split("/")
        answered = grpc.unary_unary_rpc_method_handler(
            partial(_serve, confirm.path, self._confirming, self._confirm),
            confirm.request.FromString,
            confirm.response.SerializeToString,
        )
        server.add_registered_method_handlers(service, {name: answered})

    async def _confirm(self, request: pb.ConfirmRequest, _context: Context) -> pb.ConfirmResponse:
        await self._keeping.confirm(request)
        return pb.ConfirmResponse()

    async def _follow(self, request: pb.FollowRequest, context: Context) -> None:
        news = asyncio.Event()
        hold = self._new_hold()
        with self._pump.followed(news.set):
            try:
                await self._known()
                start = begin(self._machine, self._pump.shown, request)
                if not hold.take(start.after_revision):
                    raise Compacted(f"revision {start.after_revision} is gone")
                await _write(context, pb.FollowResponse(begin=self._begin_message(start)))
                await self._send(Feed(self._machine, start), hold, news, context)
            finally:
                hold.release()

    async def _send(self, feed: Feed, hold: HistoryHold, news: asyncio.Event, context: Context) -> None:
        """Ends when what has been sent is no longer part of what the region has; the caller asks again then."""
        while True:
            news.clear()
            if not feed.holds:
                return
            hold.review()
            batch = feed.next_batch(self._pump.shown)
            if batch is not None:
                await _write(context, pb.FollowResponse(batch=batch))
                hold.reached(feed.revision)
                if feed.revision >= self._pump.shown:
                    await asyncio.sleep(GATHER_SECONDS)
                continue
            self._require_leader()
            await _write(context, pb.FollowResponse(position=self._position()))
            hold.reached(feed.revision)
            with suppress(TimeoutError):
                async with asyncio.timeout(POSITION_SECONDS):
                    await news.wait()

    async def _base(self, request: pb.BaseRequest, context: Context) -> None:
        await self._known()
        history, revision = base_revision(self._machine, self._pump.shown, request)
        state, data_id = self._machine.state, self._machine.data_id
        hold = self._new_hold()
        if not hold.take(revision):
            raise Compacted(f"revision {revision} is gone")
        loop = asyncio.get_running_loop()
        sent_key = scanned = b""
        last = False
        try:
            while not last:
                began = loop.time()
                ours = chain_of(self._machine.state, self._machine.revision)
                if self._machine.data_id != data_id or not isinstance(
                    compare(ours, Chain.of(history, revision)), Resume
                ):
                    raise Compacted(f"other data has taken the place of revision {revision}")
                rows = self._machine.snapshot_after(scanned, revision, max_bytes=CHUNK_BYTES, max_rows=CHUNK_ROWS)
                scanned, last = rows.last_key, rows.last
                reading_seconds = loop.time() - began
                if rows.count or last:
                    chunk = pb.SnapshotChunk(
                        store_id=state.store_id,
                        epoch=state.epoch,
                        history=history_messages(history),
                        revision=revision,
                        after_key=sent_key,
                        last_key=rows.last_key,
                        rows=rows.packed,
                        row_count=rows.count,
                        last=last,
                    )
                    sent_key = rows.last_key
                    await _write(context, chunk)
                    hold.progressed()
                hold.review()
                # For as long again, the loop is for others: this replica's clients above all.
                await asyncio.sleep(reading_seconds)
        finally:
            hold.release()

    async def _known(self) -> None:
        """Returns once it is known what may be shown. Raises NoLeader, NotReady."""
        self._require_leader()
        try:
            async with asyncio.timeout(KNOWN_SECONDS):
                await self._pump.known()
        except TimeoutError:
            raise NotReady("it is not known here what has been confirmed") from None

    def _require_leader(self) -> None:
        """Raises NoLeader: another replica may know more than this one."""
        if not self._has_leader():
            raise NoLeader

    def _new_hold(self) -> HistoryHold:
        return HistoryHold(
            "archive",
            machine=self._machine,
            clock=self._clock,
            idle_seconds=self._config.hold_idle_seconds,
            total_seconds=self._config.hold_seconds,
        )

    def _begin_message(self, start: Begin) -> pb.FollowBegin:
        return pb.FollowBegin(
            store_id=self._machine.state.store_id,
            region=self._config.region,
            replica=self._config.replica,
            history=history_messages(start.history),
            after_revision=start.after_revision,
            compacted=start.compacted,
            fork_revision=start.fork_revision,
        )

    def _position(self) -> pb.FollowPosition:
        return pb.FollowPosition(revision=self._pump.shown, compact_revision=self._machine.compact_revision)


async def _serve(
    path: str, turns: Turns, body: Callable[[Any, Context], Awaitable[ResponseT]], request: Any, context: Context
) -> ResponseT:
    try:
        async with turns.turn(info_of(context, waits=True).client):
            return await body(request, context)
    except StoreError as error:
        await context.abort(*error.answer())
    except asyncio.CancelledError:
        raise
    except Exception as error:
        _log.exception("call_failed", method=path)
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error: {type(error).__name__}")
    raise AssertionError("abort raises")


async def _write(context: Context, message: Any) -> None:
    try:
        async with asyncio.timeout(UNREAD_SECONDS):
            await context.write(message)
    except TimeoutError:
        raise DeadlineExceeded(f"nothing was taken for {UNREAD_SECONDS:.0f} s") from None
