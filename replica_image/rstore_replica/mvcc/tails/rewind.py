"""Undoing: back to what the store was at an earlier revision.

The rows above it are removed together with their index entries; the entries before them are then the newest again.
Possible down to ``compact_revision``, because compaction keeps every key's newest row there.
"""

from __future__ import annotations

import sys

import msgspec
from rstore_api.errors import Compacted, FutureRevision

from rstore_replica.mvcc.data.store import Position, Store, Transaction
from rstore_replica.mvcc.data.undo import undo


def rewind(store: Store, transaction: Transaction, position: Position, revision: int) -> Position:
    """Removes everything above ``revision``; returns the position after it. The region state is the caller's.

    Takes time and memory of the transaction in proportion to what is undone. Raises Compacted or FutureRevision.
    """
    if revision > position.revision:
        raise FutureRevision
    if revision < position.compact_revision:
        raise Compacted
    undo(store, transaction, revision, sys.maxsize)
    return msgspec.structs.replace(position, revision=revision)
