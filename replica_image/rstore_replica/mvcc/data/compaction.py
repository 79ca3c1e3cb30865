"""Compaction: forgetting what newer rows have superseded.

Raising ``compact_revision`` is what readers see, and happens in one apply. Removing rows follows in bounded steps,
each its own transaction, resumed after a restart: ``swept`` says how far. Work is proportional to what changed, not
to what lives: the steps go through the rows from ``swept`` to ``compact_revision`` and remove, for each, the older
rows of *its key*; and a deletion itself, as nobody may look below it any more. What remains of a key is its newest
row at ``compact_revision`` and everything above, so every revision from there on reads, streams and rewinds as before.
"""

from __future__ import annotations

import msgspec
from rstore_api import rows
from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_api.errors import Compacted, FutureRevision, StoreError

from rstore_replica.mvcc.data import layout, long_keys
from rstore_replica.mvcc.data.store import Position, Store, Transaction

DEFAULT_STEP_ROWS = 256


def compact(position: Position, revision: int) -> Position | StoreError:
    """The position after a compaction to ``revision``: Compacted when it is not above the last one, FutureRevision."""
    if revision <= position.compact_revision:
        return Compacted()
    if revision > position.revision:
        return FutureRevision()
    if position.swept_revision == position.compact_revision and position.swept_sub != layout.MASK32:
        # Deletions that were kept in their own revision go now, those too that the sweep has passed.
        position = msgspec.structs.replace(position, swept_sub=0)
    return msgspec.structs.replace(position, compact_revision=revision)


def pending(position: Position, limit: int) -> bool:
    """Returns whether rows that are superseded at ``limit``, at most the compact revision, may still be there."""
    return (position.swept_revision, position.swept_sub) < _end(position, limit)


def _end(position: Position, limit: int) -> tuple[int, int]:
    """Where a sweep ends: before the rows of the compact revision, whose deletions are still there; after any other."""
    return limit, 0 if limit == position.compact_revision else layout.MASK32


def sweep(store: Store, transaction: Transaction, position: Position, limit: int, max_rows: int) -> Position:
    """Goes through at most ``max_rows`` rows, none above ``limit``; returns the position with the new ``swept``."""
    visited = 0
    swept = (position.swept_revision, position.swept_sub)
    done = True
    passed: dict[int, list[tuple[bytes, bytes, bool]]] = {kind: [] for kind in rows.LEVELS}
    with transaction.cursor(store.rows) as cursor:
        positioned = cursor.set_range(layout.ROW_KEY.pack(swept[0], swept[1]))
        for row_key, body in cursor.iternext(keys=True, values=True) if positioned else ():
            revision, sub = layout.ROW_KEY.unpack(row_key)
            if revision > limit:
                break
            if visited >= max_rows:
                done = False
                swept = (revision, sub)
                break
            row = rows.unpack(revision, sub, body)
            visited += 1 + len(row.key) // rows.KEY_BYTES_OF_A_ROW
            entry = layout.pack_entry(revision, sub, row.create_revision, row.version)
            passed[row.kind].append((row.key, entry, row.deletion and revision < position.compact_revision))
    for kind, entries in passed.items():
        database = store.index_of(kind)
        with transaction.cursor(database) as short, transaction.cursor(store.long_index) as long:
            for key, entry, itself in entries:
                if len(key) <= SHORT_KEY_BYTES:
                    for old in _superseded(short, key, entry, itself=itself):
                        transaction.delete(layout.row_key_of(old), db=store.rows)
                        transaction.delete(key, old, db=database)
                else:
                    for old in _superseded(long, long_keys.name_of(key), entry, itself=itself):
                        transaction.delete(layout.row_key_of(old), db=store.rows)
                        long_keys.remove(transaction, store.long_index, key, old)
    if done:
        swept = _end(position, limit)
    return msgspec.structs.replace(position, swept_revision=swept[0], swept_sub=swept[1])


def _superseded(cursor: Transaction, name: bytes, entry: bytes, *, itself: bool) -> list[bytes]:
    """Returns the entries of a key that are older than ``entry``, and with ``itself`` that one, too."""
    if not cursor.set_key_dup(name, entry):
        raise rows.DamagedRows(f"a row of {name!r} is not in the index")
    older = [entry] if itself else []
    while cursor.next_dup():
        older.append(cursor.value())
    return older
