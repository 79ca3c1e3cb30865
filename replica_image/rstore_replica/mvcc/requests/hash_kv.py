"""HashKV: the hash of all keys at a revision, in steps between which the event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from rstore_api.errors import Compacted

from rstore_replica.mvcc.data.hashing import HashProgress, HashResult, hash_some
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.data.store import Position
from rstore_replica.mvcc.requests.range import check_exists, check_revision

CHUNK_KEYS = 256
CHUNK_BYTES = 1 << 20
PAUSE_SECONDS = 0.002
"""After each chunk, about as long as one takes: a hash gets half of the loop's time at most."""


async def hash_kv(reading: Callable[[], AbstractContextManager[tuple[Reader, Position]]], revision: int) -> HashResult:
    """The hash of the keys as they were at ``revision`` (0: the newest); each chunk is read with a reader of its own.

    Raises FutureRevision, or Compacted (also when compaction passes the revision meanwhile, or a snapshot takes the
    place of the data).
    """
    progress, generation, compact_revision = HashProgress(), -1, 0

    def step() -> None:
        """One chunk. Its reader is a local of this call: LMDB's slot for it is free only once it is collected."""
        nonlocal progress, generation, compact_revision, revision
        with reading() as (reader, position):
            if generation < 0:
                generation, revision = position.generation, revision if revision > 0 else position.revision
            check_revision(revision, position.revision, position.compact_revision)
            check_exists(reader, revision, position.revision)
            if position.generation != generation:
                raise Compacted("a snapshot has taken the place of the data")
            progress = hash_some(reader, revision, progress, max_keys=CHUNK_KEYS, max_bytes=CHUNK_BYTES)
            compact_revision = position.compact_revision

    while progress.next_key is not None:
        step()
        await asyncio.sleep(PAUSE_SECONDS if progress.next_key is not None else 0)
    return HashResult(progress.checksum, revision, compact_revision)
