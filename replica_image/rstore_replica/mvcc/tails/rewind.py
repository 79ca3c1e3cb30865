"""Undoing: back to what the store was at an earlier revision.

The rows above it are removed together with their index entries; the entries before them are then the newest again.
Possible down to ``compact_revision``, because compaction keeps every key's newest row there.
"""

from __future__ import annotations

import sys

import msgspec
from rstore_api.errors import Compacted, FutureRevision

from rstore_replica.mvcc.data import layout, rows
from rstore_replica.mvcc.data.store import Position, Store, Transaction


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


def undo(store: Store, transaction: Transaction, revision: int, max_rows: int) -> bool:
    """Removes at most ``max_rows`` of the rows above ``revision``, from the newest down; whether all of them are gone.

    On the way there, reads at or below ``revision`` see no difference.
    """
    with transaction.cursor(store.rows) as cursor:
        more = cursor.last()
        while more:
            row_revision, sub = layout.ROW_KEY.unpack(cursor.key())
            if row_revision <= revision:
                break
            if max_rows <= 0:
                return False
            max_rows -= 1
            row = rows.unpack(row_revision, sub, cursor.value())
            entry = layout.pack_entry(row_revision, sub, row.create_revision, row.version)
            if not transaction.delete(row.key, entry, db=store.index):
                raise rows.DamagedRows(f"row {row_revision}.{sub} is not in the index")
            cursor.delete()
            more = cursor.last()
    return True
