"""An archive of a size that is asked for: a base of four fifths of it, and segments that overwrite some of the keys."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from rstore_api import rows
from rstore_api.domain.epochs import EpochStart, History
from rstore_api.domain.limits import SEGMENT_BYTES
from rstore_backup import bases, card, names, sealed, segments
from rstore_backup.archiver.base_maker import PART_BYTES
from rstore_backup.bases import Manifest, PartHeader, PartInfo
from rstore_backup.card import Card
from rstore_backup.segments import Kind, Link, Record, SegmentHeader
from rstore_backup.stores import Below, open_store

STORE_ID = "7d0e3c52-0000-4000-8000-000000000001"
VALUE_BYTES = 1024
_HISTORY: History = (EpochStart(1, 2, "east"),)
_ROWS_IN_RECORD = 512
_SEED = 3


def _key(number: int) -> bytes:
    return b"made/%010d" % number


def _records(rng: random.Random, keys: int, after: int, last: int, time_ms: int) -> Iterator[Record]:
    """Yields puts of keys that are in the base, one in each revision; values cannot be compressed."""
    for start in range(after, last, _ROWS_IN_RECORD):
        end = min(last, start + _ROWS_IN_RECORD)
        puts = []
        for revision in range(start + 1, end + 1):
            number = (revision * 7919) % keys
            # Each key is put once by the base, and once more at most after it.
            puts.append(rows.Row(revision, 0, _key(number), rng.randbytes(VALUE_BYTES), 2 + number, 2))
        yield Record(Kind.ROWS, time_ms, start, end, rows.pack_batch(puts))


class MadeArchive:
    """The archive, below ``destination``."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.destination = folder.as_uri()
        values = (mebibytes << 20) // VALUE_BYTES
        self.keys = values * 4 // 5
        self.revision = 1 + values
        self._base_revision = 1 + self.keys
        self._objects = Below(open_store(self.destination), STORE_ID)
        self._random = random.Random(_SEED)

    async def write(self) -> None:
        """Writes all of it."""
        await self._objects.create(names.STORE, card.encode(Card(STORE_ID, "default", "made")))
        now_ms = int(time.time() * 1000)
        await self._write_base(now_ms)
        await self._write_segments(now_ms)

    async def _write_base(self, time_ms: int) -> None:
        infos: list[PartInfo] = []
        per_part = PART_BYTES // VALUE_BYTES
        for number, start in enumerate(range(0, self.keys, per_part)):
            count = min(per_part, self.keys - start)
            name, data = names.part(self._base_revision, number, "made"), self._part(number, start, count)
            await self._objects.create(name, data)
            infos.append(PartInfo(name, len(data), count, sealed.digest_of(data)))
        manifest = Manifest(
            store_id=STORE_ID,
            namespace="default",
            name="made",
            history=_HISTORY,
            revision=self._base_revision,
            time_ms=time_ms,
            duration_ms=0,
            rows=self.keys,
            size_bytes=sum(info.size_bytes for info in infos),
            parts=tuple(infos),
        )
        await self._objects.create(names.manifest(manifest.revision), bases.encode_manifest(manifest))

    def _part(self, number: int, start: int, count: int) -> bytes:
        chunks = []
        for first in range(start, start + count, _ROWS_IN_RECORD):
            numbers = range(first, min(start + count, first + _ROWS_IN_RECORD))
            puts = (rows.Row(2 + at, 0, _key(at), self._random.randbytes(VALUE_BYTES), 2 + at, 1) for at in numbers)
            chunks.append(rows.pack_batch(puts))
        return bases.encode_part(PartHeader(STORE_ID, _HISTORY, self._base_revision, number, count), chunks)

    async def _write_segments(self, time_ms: int) -> None:
        link: Link | None = None
        per_segment = SEGMENT_BYTES.default // VALUE_BYTES
        for after in range(self._base_revision, self.revision, per_segment):
            last = min(self.revision, after + per_segment)
            header = SegmentHeader(
                STORE_ID,
                _HISTORY,
                after,
                after + 1,
                last,
                last - after,
                time_ms,
                time_ms,
                link,
                "" if link else "it was made for a benchmark",
            )
            records = list(_records(self._random, self.keys, after, last, time_ms))
            data = segments.encode(header, records)
            await self._objects.create(header.name, data)
            link = Link(header.name, sealed.digest_of(data))
