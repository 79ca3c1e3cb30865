"""How etcd (3.5) lays out its data in a bbolt database: buckets, and the keys and values in them.

A snapshot, as ``etcdctl snapshot save`` writes it, is such a database, followed by the SHA-256 hash of its bytes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

KEY = b"key"
"""A revision of a key → the encoded KeyValue; of a deletion, with nothing but the key."""
META = b"meta"
LEASE = b"lease"
"""The id of a lease in 8 bytes → the encoded lease."""
BUCKETS = (
    KEY,
    META,
    LEASE,
    b"alarm",
    b"cluster",
    b"members",
    b"members_removed",
    b"auth",
    b"authUsers",
    b"authRoles",
)
"""All that etcd expects to be there."""

FINISHED_COMPACTION = b"finishedCompactRev"
SCHEDULED_COMPACTION = b"scheduledCompactRev"

_REVISION = struct.Struct(">Q1sQ")
_SEPARATOR = b"_"
_DELETION = b"t"


def revision_key(revision: int, sub: int, *, deletion: bool = False) -> bytes:
    """Returns the key of a row in the bucket :data:`KEY`; ``sub`` counts the changes of a revision from 0."""
    return _REVISION.pack(revision, _SEPARATOR, sub) + (_DELETION if deletion else b"")


class RowKey(NamedTuple):
    """What the key of a row in the bucket :data:`KEY` says."""

    revision: int
    sub: int
    deletion: bool


def parse_revision_key(key: bytes) -> RowKey | None:
    """Returns what :func:`revision_key` made a key of; None where it is none."""
    if key[_REVISION.size :] not in (b"", _DELETION) or len(key) < _REVISION.size:
        return None
    revision, separator, sub = _REVISION.unpack_from(key)
    return RowKey(revision, sub, len(key) > _REVISION.size) if separator == _SEPARATOR else None


def compaction_items(compact_revision: int) -> list[tuple[bytes, bytes]]:
    """Returns what the bucket :data:`META` says of a compaction that is complete; nothing at 0."""
    if not compact_revision:
        return []
    value = revision_key(compact_revision, 0)
    return [(FINISHED_COMPACTION, value), (SCHEDULED_COMPACTION, value)]
