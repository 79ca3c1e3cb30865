"""One store's archiver: the log, bases, pruning and drills beside each other, begun again after every failure.

All that it knows is in the archive; an archiver that dies loses nothing but the time until another one runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any

from rstore_api.logs import get_logger
from rstore_api.proto.rstore_pb2 import ConfirmRequest, FollowBegin, FollowRequest

from rstore_backup.archiver.base_maker import PART_BYTES, BaseMaker
from rstore_backup.archiver.builder import Contradiction, LineBuilder
from rstore_backup.archiver.drill_rules import drill_wanted
from rstore_backup.archiver.driller import Driller
from rstore_backup.archiver.keepers import CONFIRM_SECONDS
from rstore_backup.archiver.log_writer import LogWriter, Overtaken
from rstore_backup.archiver.progress import Progress
from rstore_backup.archiver.pruner import prune
from rstore_backup.archiver.rules import Wanted, next_base_ms, on_line, pruning, wanted
from rstore_backup.archiver.source import Source, SourceError
from rstore_backup.archiver.tip import claim, read_manifests, read_tip
from rstore_backup.card import Card
from rstore_backup.config import ArchiverConfig
from rstore_backup.errors import (
    AccessRefused,
    ArchiveError,
    Damaged,
    DestinationInvalid,
    WrongStore,
)
from rstore_backup.objects import ObjectStore
from rstore_backup.program.retrying import Backoff, until_one_ends
from rstore_backup.program.scratch import Scratch
from rstore_backup.report import Problem
from rstore_backup.stores import Below

_log = get_logger(__name__)

RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS = 1.0, 30.0
LOOK_SECONDS = 5.0
"""Between two looks at whether a base is due."""
PRUNE_SECONDS = 3600.0
SESSION_FAILURES = 10
"""Streams that fail one after the other, after which it is asked anew to which store the region belongs."""
FLUSH_SECONDS = 10.0
"""For what has come and is not written when the archiver is stopped."""

_FAILURES = (SourceError, Contradiction, Overtaken, ArchiveError)


class Archiver:
    """:meth:`run` until it is cancelled."""

    def __init__(
        self,
        *,
        destination: ObjectStore,
        source: Source,
        confirm: Callable[[ConfirmRequest], Awaitable[None]],
        config: Callable[[], ArchiverConfig],
        progress: Progress,
        now_ms: Callable[[], int],
        new_attempt: Callable[[], str],
        scratch: Scratch | None = None,
        retry_seconds: tuple[float, float] = (RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS),
        look_seconds: float = LOOK_SECONDS,
        part_bytes: int = PART_BYTES,
    ) -> None:
        """``confirm`` tells replicas what the archive has; ``config`` returns the configuration as it is now, whose
        destination and region are those given here. ``scratch`` is where drills have their files.
        """
        self._destination = destination
        self._source = source
        self._confirm = confirm
        self._config = config
        self._progress = progress
        self._now_ms = now_ms
        self._new_attempt = new_attempt
        self._retry_seconds = retry_seconds
        self._look_seconds = look_seconds
        self._part_bytes = part_bytes
        self._scratch = scratch
        self._schedule_followed_ms = 0
        self._reading = asyncio.Lock()
        """Held while the archive is read for a drill, and while parts of it are removed."""

    async def run(self) -> None:
        """Archives, for ever. Whatever fails is reported and tried again."""
        backoff = Backoff(*self._retry_seconds)
        while True:
            try:
                await self._session(backoff)
            except _FAILURES as failure:
                self._note("session", failure)
            await asyncio.sleep(backoff.seconds())

    async def _session(self, backoff: Backoff) -> None:
        """Goes on from what the archive ends with, until something says that it ends with something else."""
        store_id = await self._store_id()
        config = self._config()
        card = Card(store_id, config.namespace, config.name)
        self._progress.store_id, self._progress.region = store_id, config.region
        store = Below(self._destination, store_id)
        await claim(store, card)
        tip = await read_tip(store)
        self._progress.manifests = await read_manifests(store)
        writer = LogWriter(
            store_id=store_id,
            store=store,
            source=self._source,
            tip=tip,
            config=self._config,
            progress=self._progress,
            now_ms=self._now_ms,
            retry=self._until_taken,
        )
        maker = BaseMaker(
            card=card,
            store=store,
            source=self._source,
            progress=self._progress,
            now_ms=self._now_ms,
            retry=self._until_taken,
            new_attempt=self._new_attempt,
            part_bytes=self._part_bytes,
        )
        driller = Driller(
            store_id=store_id,
            store=store,
            source=self._source,
            scratch=self._scratch,
            progress=self._progress,
            now_ms=self._now_ms,
            retry_seconds=self._retry_seconds,
        )
        self._progress.succeeded("session")
        try:
            await until_one_ends(
                self._follow(writer, backoff),
                self._keep_on("bases", lambda: self._make_bases(maker, writer)),
                self._keep_on("pruning", lambda: self._prune(store)),
                self._keep_on("drills", lambda: self._drill(driller)),
                self._keep_on("confirming", lambda: self._confirm_archived(writer)),
            )
        except asyncio.CancelledError:
            with suppress(*_FAILURES, TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await writer.flush()
            raise

    async def _store_id(self) -> str:
        async with aclosing(self._source.follow(FollowRequest())) as stream:
            async for message in stream:
                begin: FollowBegin = message.begin
                return begin.store_id
        raise SourceError("it ended a stream at once")

    async def _follow(self, writer: LogWriter, backoff: Backoff) -> None:
        """Opens streams one after the other. Raises Overtaken or Contradiction, and SourceError when many have failed:
        the region may belong to another store by now.
        """
        failed = 0
        while True:
            revision = writer.line.revision
            try:
                await writer.run()
                # It ends where the region has left the line, and begins again at the fork.
            except SourceError as failure:
                failed += 1
                if failed == SESSION_FAILURES:
                    raise
                self._note("reading", failure)
            if writer.line.revision != revision:
                backoff.reset()
                failed = 0
            await asyncio.sleep(backoff.seconds())

    async def _until_taken(self, write: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(*self._retry_seconds)
        while True:
            try:
                await write()
            except ArchiveError as failure:
                self._note("writing", failure)
                await asyncio.sleep(backoff.seconds())
            else:
                self._progress.succeeded("writing")
                return

    async def _keep_on(self, part: str, work: Callable[[], Coroutine[Any, Any, float]]) -> None:
        """Does some work again and again; it returns after how many seconds."""
        backoff = Backoff(*self._retry_seconds)
        while True:
            try:
                pause = await work()
                backoff.reset()
                self._progress.succeeded(part)
            except (SourceError, ArchiveError) as failure:
                self._note(part, failure)
                pause = backoff.seconds()
            await asyncio.sleep(pause)

    async def _make_bases(self, maker: BaseMaker, writer: LogWriter) -> float:
        progress, config, line = self._progress, self._config(), writer.line
        if not line.revision:
            return self._look_seconds / 10  # nothing has come yet
        now_ms = self._now_ms()
        progress.next_base_ms = next_base_ms(config.schedule, now_ms)
        newest_ms = max((manifest.time_ms for manifest in progress.manifests), default=0)
        base = wanted(
            has_base=progress.recoverable is not None or self._is_ahead(line),
            last_base_ms=max(newest_ms, self._schedule_followed_ms),
            requests=config.requests,
            answered={*progress.answered, *(manifest.request for manifest in progress.manifests)},
            schedule=config.schedule,
            now_ms=now_ms,
        )
        if base is None:
            return self._look_seconds
        await self._make(maker, base, line.line_from_revision, now_ms)
        return self._look_seconds / 10  # there may be another one to make

    async def _make(self, maker: BaseMaker, base: Wanted, min_revision: int, now_ms: int) -> None:
        made = await maker.make(base, min_revision)
        if made not in self._progress.manifests:
            others = [each for each in self._progress.manifests if each.revision != made.revision]
            self._progress.manifests = tuple(sorted([*others, made], key=lambda manifest: manifest.revision))
        if base.request:
            self._progress.answered[base.request] = made
        if base.scheduled:
            self._schedule_followed_ms = now_ms

    def _is_ahead(self, line: LineBuilder) -> bool:
        """Whether there is a base that the rows in the archive have not reached yet."""
        of_line = line.history, max(line.revision, self._progress.archived_revision)
        return any(
            manifest.revision > self._progress.archived_revision and on_line(manifest, *of_line)
            for manifest in self._progress.manifests
        )

    async def _prune(self, store: ObjectStore) -> float:
        config, progress = self._config(), self._progress
        if not progress.history:
            return self._look_seconds  # nothing has come yet
        decided = pruning(
            progress.manifests,
            progress.history,
            progress.archived_revision,
            keep_bases=config.keep_bases,
            keep_seconds=config.keep_seconds,
            now_ms=self._now_ms(),
        )
        if decided is not None:
            async with self._reading:
                await prune(store, decided)
            dropped = {manifest.revision for manifest in decided.bases}
            self._progress.manifests = tuple(
                manifest for manifest in self._progress.manifests if manifest.revision not in dropped
            )
        return PRUNE_SECONDS

    async def _drill(self, driller: Driller) -> float:
        config, progress = self._config(), self._progress
        last = progress.last_drill
        drill = drill_wanted(
            schedule=config.drill_schedule,
            request=config.drill_request,
            last_request=last.request if last is not None else "",
            last_ms=max(config.drill_last_ms, last.time_ms if last is not None else 0),
            recoverable=progress.recoverable is not None,
            now_ms=self._now_ms(),
        )
        if drill is not None:
            async with self._reading:
                await driller.drill(drill)
        return self._look_seconds

    async def _confirm_archived(self, writer: LogWriter) -> float:
        confirmation = writer.confirmation
        if confirmation is None:
            return self._look_seconds / 10  # nothing is archived yet
        await self._confirm(confirmation)
        return CONFIRM_SECONDS

    def _note(self, part: str, failure: BaseException) -> None:
        problem = problem_of(failure)
        known = self._progress.error
        self._progress.failed(part, problem, str(failure), self._now_ms())
        if known is None or known.text != str(failure):
            _log.warning("archive_failed", part=part, problem=problem.value, reason=str(failure))


def problem_of(failure: BaseException) -> Problem:
    """Returns what an error is about."""
    if isinstance(failure, AccessRefused):
        return Problem.ACCESS_REFUSED
    if isinstance(failure, DestinationInvalid):
        return Problem.DESTINATION_INVALID
    if isinstance(failure, WrongStore):
        return Problem.WRONG_STORE
    if isinstance(failure, Damaged):
        return Problem.ARCHIVE_DAMAGED
    return Problem.CANNOT_WRITE if isinstance(failure, ArchiveError | Overtaken) else Problem.CANNOT_READ
