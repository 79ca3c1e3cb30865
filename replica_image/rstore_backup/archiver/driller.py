"""Makes drills: restores what the archive has at the region's newest revision, and compares both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from rstore_api.logs import get_logger

from rstore_backup.archiver.drill_rules import Fingerprint, Restored, Standing, WantedDrill, judged, standing
from rstore_backup.archiver.fingerprint import read_fingerprint
from rstore_backup.archiver.progress import Progress
from rstore_backup.archiver.source import Source, SourceError
from rstore_backup.errors import ArchiveError
from rstore_backup.objects import ObjectStore
from rstore_backup.program.retrying import Backoff
from rstore_backup.program.scratch import Scratch
from rstore_backup.report import DrillProgress, DrillReport, DrillResult
from rstore_backup.restoring.key_table import TableUnusable
from rstore_backup.restoring.plan import AtRevision, Latest
from rstore_backup.restoring.restore import restorable

_log = get_logger(__name__)

ATTEMPTS = 3
"""How often a region is read, and a restore is tried, before a drill reports that it cannot be done."""
REACH_SECONDS = 600.0
"""How long a drill waits until what the region has is archived."""
POLL_SECONDS = 0.1
MAX_MESSAGE = 1024
"""Characters of an error that are reported."""
INTERRUPTED = "the archiver was killed in the middle of it: did it have too little memory?"


class _NotArchived(ArchiveError):  # noqa: N818
    """The archive has not reached the revision in time, or the store has left that revision in a failover."""


class Driller:
    """Makes one drill at a time."""

    def __init__(
        self,
        *,
        store_id: str,
        store: ObjectStore,
        source: Source,
        scratch: Scratch | None,
        progress: Progress,
        now_ms: Callable[[], int],
        retry_seconds: tuple[float, float],
        reach_seconds: float = REACH_SECONDS,
    ) -> None:
        """Without ``scratch`` the files of a drill are in the system's folder for temporary files."""
        self._store_id = store_id
        self._store = store
        self._source = source
        self._scratch = scratch
        self._progress = progress
        self._now_ms = now_ms
        self._retry_seconds = retry_seconds
        self._reach_seconds = reach_seconds

    async def drill(self, wanted: WantedDrill) -> None:
        """Makes a drill. Whatever comes of it is reported by the progress; an archive that cannot be restored raises
        nothing here.
        """
        began_ms, progress = self._now_ms(), self._progress
        progress.drilling = DrillProgress(began_ms, wanted.request)
        drill = DrillReport(
            began_ms,
            DrillResult.FAILED,
            "",
            rpo_seconds=max(0, began_ms - progress.archived_time_ms) / 1000,
            request=wanted.request,
        )
        try:
            if self._scratch is not None:
                self._scratch.begin(progress.drilling)
            drill = await self._made(drill)
        except (ArchiveError, OSError) as error:
            drill = msgspec.structs.replace(drill, message=str(error)[:MAX_MESSAGE])
        finally:
            progress.drilling = None
            if self._scratch is not None:
                self._scratch.end()
        progress.drilled(drill)
        _log.info("drilled", result=drill.result.value, revision=drill.revision, message=drill.message)

    async def _made(self, drill: DrillReport) -> DrillReport:
        backoff = Backoff(*self._retry_seconds)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(drill)
            except TableUnusable:
                raise
            except ArchiveError as error:
                if attempt == ATTEMPTS:
                    raise
                _log.warning("drill_attempt_failed", reason=str(error))
            await asyncio.sleep(backoff.seconds())
        raise AssertionError("unreachable")

    async def _once(self, drill: DrillReport) -> DrillReport:
        fingerprint, silence = await self._fingerprint()
        if fingerprint is not None:
            await self._until_archived(fingerprint)
        began_ms = self._now_ms()
        restored = await self._restored(fingerprint)
        result, message = judged(restored, fingerprint, silence)
        return msgspec.structs.replace(
            drill,
            result=result,
            message=message,
            revision=restored.revision,
            keys=restored.keys,
            rto_seconds=max(0, self._now_ms() - began_ms) / 1000,
            compared_region=fingerprint.region if fingerprint is not None else "",
        )

    async def _fingerprint(self) -> tuple[Fingerprint | None, str]:
        """Returns what the region has; None, and why, where no replica of it gives that."""
        backoff, silence = Backoff(*self._retry_seconds), ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(backoff.seconds())
            oldest = self._progress.recoverable
            try:
                region, revision = self._progress.region, oldest.revision if oldest is not None else 0
                return await read_fingerprint(self._source, self._store_id, region, revision), ""
            except SourceError as error:
                silence = str(error)
        return None, silence

    async def _until_archived(self, fingerprint: Fingerprint) -> None:
        """Waits until the archive has the fingerprint's revision. Raises _NotArchived."""
        where = f"revision {fingerprint.revision}, which region {fingerprint.region} had,"
        try:
            async with asyncio.timeout(self._reach_seconds):
                while True:
                    at = standing(self._progress.history, self._progress.archived_revision, fingerprint)
                    if at is Standing.ARCHIVED:
                        return
                    if at is Standing.LEFT:
                        raise _NotArchived(f"{where} was lost in a failover meanwhile")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise _NotArchived(f"{where} is not in the archive after {self._reach_seconds:g} s") from None

    async def _restored(self, fingerprint: Fingerprint | None) -> Restored:
        scratch = self._scratch
        restored = await restorable(
            self._store,
            self._store_id,
            AtRevision(fingerprint.revision) if fingerprint is not None else Latest(),
            directory=scratch.folder if scratch is not None else None,
            max_bytes=scratch.max_bytes if scratch is not None else None,
            begin=lambda _objects: None,
            advance=lambda _objects: None,
        )
        with restored.table as table:
            keys, checksum = await asyncio.to_thread(lambda: (len(table), table.hash()))
        return Restored(table.revision, keys, checksum, tuple(damage.name for damage in restored.unusable))
