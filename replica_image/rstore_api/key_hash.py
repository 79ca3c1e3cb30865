"""Checksums by which replicas, regions and backups are compared.

HashKV is CRC32C over the keys that exist at a revision, in order: key, value, create and mod revision, version, lease.
Rows that compaction may or may not have removed are not in it, so it is equal in all regions (I8).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import google_crc32c

_HEADER = struct.Struct(">IIQQQq")


def packed(key: bytes, value: bytes, created: int, modified: int, version: int, lease: int) -> bytes:
    """Returns the bytes of one key that are hashed; ``created`` and ``modified`` are revisions."""
    return _HEADER.pack(len(key), len(value), created, modified, version, lease) + key + value


def extend(checksum: int, hashed: bytes) -> int:
    """Returns the hash of the keys before, ``checksum``, and of what :func:`packed` returned for the next ones."""
    return int(google_crc32c.extend(checksum, hashed))


def extend_names(checksum: int, keys: Iterable[bytes]) -> int:
    """Returns the checksum of the names of some keys and of those that follow them: CRC32C of each one's length (u32)
    and bytes. It says whether a range that was deleted as a whole had the same keys elsewhere.
    """
    return extend(checksum, b"".join([part for key in keys for part in (len(key).to_bytes(4, "big"), key)]))
