"""Hashes the keys of a region as its replica sends them for a base, without keeping them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from rstore_api import key_hash, rows
from rstore_api.messages import history_of
from rstore_api.proto.rstore_pb2 import BaseRequest, SnapshotChunk

from rstore_backup.archiver.drill_rules import Fingerprint
from rstore_backup.archiver.source import Source, SourceError


async def read_fingerprint(source: Source, store_id: str, region: str, min_revision: int) -> Fingerprint:
    """Returns the fingerprint of the newest revision that the region shows, which is ``min_revision`` or above it.

    Raises SourceError.
    """
    checksum = keys = 0
    first: SnapshotChunk | None = None
    last = False
    request = BaseRequest(store_id=store_id, min_revision=min_revision)
    async with aclosing(source.base(request)) as stream:
        async for chunk in stream:
            first = first or chunk
            try:
                checksum, count = await asyncio.to_thread(_extend, checksum, chunk.rows)
            except rows.DamagedRows as error:
                raise SourceError(f"it sent rows that cannot be read: {error}") from error
            keys += count
            last = chunk.last
    if first is None or not last:
        raise SourceError("it ended before its last key")
    return Fingerprint(region, history_of(first.history), first.revision, keys, checksum)


def _extend(checksum: int, packed: bytes) -> tuple[int, int]:
    """Returns the checksum with the keys among the rows, and how many keys those are."""
    count = 0
    for revision, _, _, body, key, created, version in rows.unpack_frames(packed, in_order=False):
        if rows.kind_of(body) == rows.KEY:
            hashed = key_hash.packed(key, rows.value_of(body), created, revision, version, rows.attached_lease(body))
            checksum = key_hash.extend(checksum, hashed)
            count += 1
    return checksum, count
