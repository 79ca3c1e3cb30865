"""Makes bases, beside the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress

from rstore_api.logs import get_logger
from rstore_api.messages import history_of
from rstore_api.proto.rstore_pb2 import BaseRequest

from rstore_backup import bases, names, sealed
from rstore_backup.archiver.progress import Progress
from rstore_backup.archiver.rules import Wanted
from rstore_backup.archiver.source import Source, SourceError
from rstore_backup.bases import Manifest, PartHeader, PartInfo
from rstore_backup.card import Card
from rstore_backup.errors import ObjectExists
from rstore_backup.objects import ObjectStore
from rstore_backup.program.retrying import Retry
from rstore_backup.report import BaseProgress

_log = get_logger(__name__)

PART_BYTES = 8 << 20
"""Of rows, before they are compressed; a part is in memory as a whole."""


class BaseMaker:
    """Makes one base at a time."""

    def __init__(
        self,
        *,
        card: Card,
        store: ObjectStore,
        source: Source,
        progress: Progress,
        now_ms: Callable[[], int],
        retry: Retry,
        new_attempt: Callable[[], str],
        part_bytes: int = PART_BYTES,
    ) -> None:
        """``retry`` does something until the object store takes it; ``new_attempt`` returns another short name each
        time.
        """
        self._card = card
        self._store = store
        self._source = source
        self._progress = progress
        self._now_ms = now_ms
        self._retry = retry
        self._new_attempt = new_attempt
        self._part_bytes = part_bytes

    async def make(self, wanted: Wanted, min_revision: int) -> Manifest:
        """Returns a new base at ``min_revision`` or above, or the one that there is of the region's present revision.

        Raises SourceError, ArchiveError.
        """
        attempt, began_ms = self._new_attempt(), self._now_ms()
        request = BaseRequest(store_id=self._card.store_id, min_revision=min_revision)
        parts: list[PartInfo] = []
        chunks: list[bytes] = []
        size = rows = 0
        header: PartHeader | None = None
        last = False
        try:
            async with aclosing(self._source.base(request)) as stream:
                async for chunk in stream:
                    if header is None:
                        header = PartHeader(chunk.store_id, history_of(chunk.history), chunk.revision, 0, 0)
                        began_ms = self._now_ms()
                        made = next((each for each in self._progress.manifests if _is(each, header)), None)
                        if made is not None:
                            return made
                    if chunk.row_count:
                        chunks.append(chunk.rows)
                        size += len(chunk.rows)
                        rows += chunk.row_count
                    last = chunk.last
                    if size >= self._part_bytes or (last and chunks):
                        parts.append(await self._write_part(header, chunks, len(parts), rows, attempt))
                        chunks, size, rows = [], 0, 0
                    self._show(header, parts, began_ms, wanted)
            if header is None or not last:
                raise SourceError("the base ended before its last key")
            return await self._finish(header, parts, began_ms, wanted)
        finally:
            self._progress.making = None

    async def _write_part(
        self, header: PartHeader, chunks: list[bytes], number: int, rows: int, attempt: str
    ) -> PartInfo:
        header = PartHeader(header.store_id, header.history, header.revision, number, rows)
        name = names.part(header.revision, number, attempt)
        data = await asyncio.to_thread(bases.encode_part, header, chunks)
        await self._retry(lambda: self._create(name, data))
        return PartInfo(name, len(data), rows, sealed.digest_of(data))

    async def _finish(self, header: PartHeader, parts: list[PartInfo], began_ms: int, wanted: Wanted) -> Manifest:
        manifest = Manifest(
            store_id=self._card.store_id,
            namespace=self._card.namespace,
            name=self._card.name,
            history=header.history,
            revision=header.revision,
            time_ms=began_ms,
            duration_ms=max(0, self._now_ms() - began_ms),
            rows=sum(part.rows for part in parts),
            size_bytes=sum(part.size_bytes for part in parts),
            parts=tuple(parts),
            request=wanted.request,
            reason=wanted.reason,
        )
        name, data = names.manifest(manifest.revision), bases.encode_manifest(manifest)
        await self._retry(lambda: self._create(name, data))
        made = bases.decode_manifest(name, await self._store.get(name))
        self._progress.bases += 1
        _log.info("base_made", revision=made.revision, rows=made.rows, size_bytes=made.size_bytes, reason=made.reason)
        return made

    async def _create(self, name: str, data: bytes) -> None:
        with suppress(ObjectExists):  # its answer was lost; or another archiver has made the same base
            await self._store.create(name, data)

    def _show(self, header: PartHeader, parts: list[PartInfo], began_ms: int, wanted: Wanted) -> None:
        self._progress.making = BaseProgress(
            header.revision,
            sum(part.rows for part in parts),
            sum(part.size_bytes for part in parts),
            began_ms,
            wanted.request,
        )


def _is(manifest: Manifest, header: PartHeader) -> bool:
    return (manifest.revision, manifest.history) == (header.revision, header.history)
