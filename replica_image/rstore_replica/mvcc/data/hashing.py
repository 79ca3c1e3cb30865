"""HashKV: one number that says whether two replicas hold the same keys at a revision.

CRC32C over the keys that exist at that revision, in order: key, value, create and mod revision, version, lease. Rows
that compaction may or may not have removed are not in it, so it is equal in all regions (I8).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import google_crc32c

from rstore_replica.mvcc.data import layout
from rstore_replica.mvcc.data.reader import Reader

_HEADER = struct.Struct(">IIQQQq")


@dataclass(frozen=True)
class HashResult:
    """``hash`` is of the keys at ``hash_revision``."""

    hash: int
    hash_revision: int
    compact_revision: int


@dataclass(frozen=True)
class HashProgress:
    """A hash that is under way; ``next_key`` None means done."""

    checksum: int = 0
    next_key: bytes | None = b"\0"


def hash_some(reader: Reader, revision: int, progress: HashProgress, *, max_keys: int, max_bytes: int) -> HashProgress:
    """Goes on with at most ``max_keys`` keys or about ``max_bytes``. Each call may use another transaction."""
    if progress.next_key is None:
        return progress
    checksum, size = progress.checksum, 0
    for number, (key, entry) in enumerate(reader.scan(progress.next_key, None, revision)):
        if number == max_keys or size >= max_bytes:
            return HashProgress(checksum, key)
        checksum = google_crc32c.extend(checksum, packed := _packed(reader, key, entry))
        size += len(packed)
    return HashProgress(checksum, None)


def _packed(reader: Reader, key: bytes, entry: bytes) -> bytes:
    modified, _, created, version = layout.unpack_entry(entry)
    value, lease = reader.value_and_lease(key, entry)
    return _HEADER.pack(len(key), len(value), created, modified, version, lease) + key + value
