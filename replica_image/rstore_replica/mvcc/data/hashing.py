"""HashKV in steps: one number that says whether two replicas hold the same keys at a revision."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_api import key_hash

from rstore_replica.mvcc.data import layout
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.data.walks import Passes, SliceEndedError

PASSES_PER_KEY = 16
"""So many keys that do not exist are passed over in the time that one takes."""


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
    """Goes on with at most ``max_keys`` keys, or PASSES_PER_KEY times as many that it passes over, or about
    ``max_bytes``. Each call may use another transaction.
    """
    if progress.next_key is None:
        return progress
    checksum, size = progress.checksum, 0
    scan = reader.scan(progress.next_key, None, revision, Passes(PASSES_PER_KEY * max_keys))
    try:
        for number, (key, entry) in enumerate(scan):
            if number == max_keys or size >= max_bytes:
                return HashProgress(checksum, key)
            checksum = key_hash.extend(checksum, packed := _packed(reader, key, entry))
            size += len(packed)
    except SliceEndedError as ended:
        return HashProgress(checksum, ended.next_key)
    return HashProgress(checksum, None)


def _packed(reader: Reader, key: bytes, entry: bytes) -> bytes:
    modified, _, created, version = layout.unpack_entry(entry)
    value, lease = reader.value_and_lease(key, entry)
    return key_hash.packed(key, value, created, modified, version, lease)
