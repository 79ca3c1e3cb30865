"""How keys and index entries are laid out in LMDB.

The databases in one environment:

``rows``
    (revision u64, sub-revision u32) → body of the row (``rows.py``). The store's log, and its data.
``index``
    key → one 28-byte entry per row of that key that is kept, **newest first**: LMDB sorts the entries of a key
    (DUPSORT) by their bytes, and revision and sub-revision are stored as their complement. So the first entry is the
    present one, and one seek finds the newest at or below any revision. A deletion is an entry with version 0.
``meta``
    ``position`` (fixed struct, changes with every entry), ``region`` (the region's replicated state), notes of the
    revisions that deleted a large range (``deleted_ranges.py``), and how far one is that has begun.
``requests``
    what is remembered of the writes that carried an id (``requests/dedup.py``).

``leases``
    id of a lease → entries as in ``index``.
``attached`` and ``lease_keys``
    key → the lease to which it is attached at present, and lease → its keys. Made of the rows (``leases.py``).
``long_index``, ``long_attached`` and ``long_lease_keys``
    the same of keys that are longer than a key of LMDB may be, under their names (``long_keys.py``).
``auth``
    name of a user or role (``auth.py``) → entries as in ``index``.

All but ``meta`` and ``requests`` are there three times (``generations.py``): the data, a snapshot that is being
received, and what is being removed.

Undoing every row above a revision needs little else: the row names its key, and with the row's entry gone
the entry before it is first again.
"""

from __future__ import annotations

import struct

ROWS = b"rows"
INDEX = b"index"
LEASES = b"leases"
ATTACHED = b"attached"
LEASE_KEYS = b"lease_keys"
LONG_INDEX = b"long_index"
LONG_ATTACHED = b"long_attached"
LONG_LEASE_KEYS = b"long_lease_keys"
AUTH = b"auth"
META = b"meta"
REQUESTS = b"requests"
POSITION_KEY = b"position"
REGION_KEY = b"region"
STAGED_KEY = b"staged"
DELETING_KEY = b"deleting"

MASK64 = (1 << 64) - 1
MASK32 = (1 << 32) - 1
MAX_REVISION = (1 << 63) - 1

ROW_KEY = struct.Struct(">QI")
ENTRY = struct.Struct(">QIQQ")  # ~revision, ~sub, create revision, version
ENTRY_VERSION = slice(20, 28)
NO_VERSION = bytes(8)
"""``entry[ENTRY_VERSION]`` of a deletion."""
_ZEROS = bytes(16)
NO_ENTRY = bytes(ENTRY.size)
"""Counts as a deletion."""


def pack_entry(revision: int, sub: int, create_revision: int, version: int) -> bytes:
    """Returns an index entry; version 0 is a deletion."""
    return ENTRY.pack(MASK64 - revision, MASK32 - sub, create_revision, version)


def unpack_entry(entry: bytes) -> tuple[int, int, int, int]:
    """(revision, sub-revision, create revision, version)."""
    revision, sub, create_revision, version = ENTRY.unpack(entry)
    return MASK64 - revision, MASK32 - sub, create_revision, version


def is_deletion(entry: bytes) -> bool:
    """Returns whether an index entry stands for a deletion."""
    return entry[ENTRY_VERSION] == NO_VERSION


def count_deletions(entries: list[bytes]) -> int:
    """Returns how many of the index entries stand for deletions."""
    # Only in a deletion are create revision and version both 0; the numbers before and behind them are not.
    if _ZEROS not in b"".join(entries):
        return 0
    return sum(map(is_deletion, entries))


def row_key_of(entry: bytes) -> bytes:
    """Returns the key in ``rows`` of the row that an index entry stands for."""
    revision, sub, _, _ = ENTRY.unpack(entry)
    return ROW_KEY.pack(MASK64 - revision, MASK32 - sub)


def newest_at(revision: int) -> bytes:
    """Returns a byte string that sorts right before the newest entry at or below ``revision``."""
    return (MASK64 - revision).to_bytes(8, "big")


def key_range(key: bytes, range_end: bytes) -> tuple[bytes, bytes | None]:
    """Returns etcd's (key, range_end) as (first key, first key not meant any more); None: to the end.

    An empty ``range_end`` means the one key, and ``"\\0"`` everything from ``key`` on.
    """
    if not range_end:
        return key, key + b"\0"
    return key, None if range_end == b"\0" else range_end
