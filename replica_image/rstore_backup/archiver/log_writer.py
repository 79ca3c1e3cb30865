"""Copies the log of revisions into the archive: one stream of a region in, segments out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import msgspec
from rstore_api.logs import get_logger
from rstore_api.messages import history_messages
from rstore_api.proto.rstore_pb2 import ConfirmRequest, FollowRequest, FollowResponse

from rstore_backup import sealed, segments
from rstore_backup.archiver.builder import FIRST, Draft, LineBuilder, Tip
from rstore_backup.archiver.progress import Progress
from rstore_backup.archiver.source import Source, SourceError
from rstore_backup.archiver.tip import link_at
from rstore_backup.config import ArchiverConfig
from rstore_backup.errors import ObjectExists
from rstore_backup.objects import ObjectStore
from rstore_backup.program.retrying import Retry
from rstore_backup.segments import Link

_log = get_logger(__name__)

QUEUED_MESSAGES = 4
"""Of about a mebibyte each, that may come while a segment is being written; the region keeps the rest."""

T = TypeVar("T")


class Overtaken(Exception):  # noqa: N818 # it ends a session, which begins again
    """Another archiver has written this segment: what the archive ends with is to be read again."""


class LogWriter:
    """Goes on from a tip, for as long as :meth:`run` runs. Streams that break are opened again by the caller."""

    def __init__(
        self,
        *,
        store_id: str,
        store: ObjectStore,
        source: Source,
        tip: Tip,
        config: Callable[[], ArchiverConfig],
        progress: Progress,
        now_ms: Callable[[], int],
        retry: Retry,
    ) -> None:
        """``retry`` does something until the object store takes it."""
        self._store_id = store_id
        self._store = store
        self._source = source
        self._config = config
        self._progress = progress
        self._now_ms = now_ms
        self._retry = retry
        self._link = tip.link
        self._archived = tip.revision
        self._archived_history = tip.history
        progress.archived_time_ms = max(progress.archived_time_ms, tip.time_ms)
        self.line = LineBuilder(store_id, tip)
        self.on_archived: Callable[[], None] = lambda: None
        """Called after each segment."""
        self._shown()

    @property
    def confirmation(self) -> ConfirmRequest | None:
        """What the archive has, whatever dies now; None while that is nothing."""
        if not self._archived:
            return None
        return ConfirmRequest(
            store_id=self._store_id, history=history_messages(self._archived_history), revision=self._archived
        )

    async def run(self) -> None:
        """Follows the region until its stream ends. Raises SourceError, builder.Contradiction, Overtaken."""
        line = self.line
        request = FollowRequest(store_id=self._store_id, history=history_messages(line.history), revision=line.revision)
        messages: asyncio.Queue[tuple[int, FollowResponse] | None] = asyncio.Queue(QUEUED_MESSAGES)
        async with aclosing(self._source.follow(request)) as stream:
            reading = asyncio.create_task(self._read(stream, messages))
            reading.add_done_callback(lambda _task: None if messages.full() else messages.put_nowait(None))
            try:
                while not (reading.done() and messages.empty()):
                    taken = await _within(messages.get(), self._seconds_until_cut())
                    if taken is not None:
                        self._take(*taken)
                    if self._is_due():
                        line.cut()
                    self._shown()
                    await self.write_drafts()
                await reading
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def flush(self) -> None:
        """Writes what has come, however little. Raises Overtaken."""
        self.line.cut()
        await self.write_drafts()

    async def write_drafts(self) -> None:
        """Writes the segments that are complete. Raises Overtaken."""
        while self.line.drafts:
            self._shown()
            await self._retry(self._write_first)
            self.line.drafts.popleft()
            self._shown()
            self.on_archived()

    async def _write_first(self) -> None:
        draft = self.line.drafts[0]
        header = msgspec.structs.replace(draft.header, previous=await self._previous(draft))
        if header.previous is None and not header.begins_because:
            header = msgspec.structs.replace(
                header,
                begins_because="the segment before it is not in the archive",
                line_from_revision=header.after_revision,
            )
        data = await asyncio.to_thread(segments.encode, header, draft.records)
        try:
            await self._store.create(header.name, data)
        except ObjectExists:
            # The store may have taken it, and its answer been lost.
            if await self._store.get(header.name) != data:
                raise Overtaken(header.name) from None
        self._link = Link(header.name, sealed.digest_of(data))
        self._archived, self._archived_history = header.last_revision, header.history
        self._progress.archived_time_ms = max(self._progress.archived_time_ms, header.last_time_ms)
        self._progress.segments += 1
        self._progress.segment_bytes += len(data)
        if header.previous is None:
            log = _log.info if header.begins_because == FIRST else _log.warning
            log("line_begun", revision=header.after_revision, reason=header.begins_because)
        elif not draft.records:
            _log.info("epoch_begun", epoch=header.epoch, fork_revision=header.after_revision)

    async def _previous(self, draft: Draft) -> Link | None:
        if draft.header.begins_because:
            return None
        if draft.forks:
            return await link_at(self._store, draft.header.history[:-1], draft.header.after_revision)
        return self._link

    async def _read(
        self, stream: AsyncGenerator[FollowResponse], messages: asyncio.Queue[tuple[int, FollowResponse] | None]
    ) -> None:
        async for message in stream:
            await messages.put((self._now_ms(), message))

    def _take(self, now_ms: int, message: FollowResponse) -> None:
        kind = message.WhichOneof("message")
        self._progress.succeeded("reading")
        self._progress.seen_both = True
        if kind == "begin":
            known = self.line.lost_revisions
            self.line.begin(message.begin, now_ms)
            self._progress.lost_revisions += self.line.lost_revisions - known
        elif kind == "batch":
            self.line.take(message.batch, now_ms)
            self._progress.region_revision = max(self._progress.region_revision, self.line.revision)
        elif kind == "position":
            self._progress.region_revision = message.position.revision
            if message.position.revision <= self._archived == self.line.revision:
                self._progress.archived_time_ms = max(self._progress.archived_time_ms, now_ms)
        else:
            raise SourceError("it sent a message that this version does not know")

    def _is_due(self) -> bool:
        config = self._config()
        since = self.line.open_since_ms
        return self.line.open_bytes >= config.segment_bytes or (
            since > 0 and self._now_ms() - since >= config.log_interval_ms
        )

    def _seconds_until_cut(self) -> float | None:
        since = self.line.open_since_ms
        if not since:
            return None
        return max(0.0, (since + self._config().log_interval_ms - self._now_ms()) / 1000)

    def _shown(self) -> None:
        progress, line = self._progress, self.line
        progress.history = line.history
        progress.archived_revision = self._archived
        progress.waiting_since_ms = line.waiting_since_ms
        progress.line_from_revision = line.line_from_revision
        progress.line_because = line.line_because


async def _within(awaitable: Awaitable[T], seconds: float | None) -> T | None:
    """Returns the result, None after the seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        return None
