"""Where the entries of a key are in LMDB, whatever its length: in an index of its kind, or in that of long keys."""

from __future__ import annotations

from collections.abc import Iterable

from rstore_api import rows
from rstore_api.domain.limits import SHORT_KEY_BYTES

from rstore_replica.mvcc.data import long_keys
from rstore_replica.mvcc.data.store import Database, Store, Transaction

Entries = Iterable[tuple[bytes, bytes]]
"""Keys with an entry each."""


def place_of(store: Store, kind: int, key: bytes) -> tuple[Database, bytes]:
    """Returns the database that has the entries of a key, and by which name."""
    if len(key) > SHORT_KEY_BYTES:
        return store.long_index, long_keys.name_of(key)
    return store.index_of(kind), key


def newest(store: Store, transaction: Transaction, key: bytes) -> bytes | None:
    """Returns the newest entry of a key, also when it is a deletion."""
    database, name = place_of(store, rows.KEY, key)
    entry: bytes | None = transaction.get(name, db=database)
    return entry


def newest_behind(store: Store, transaction: Transaction, kind: int, key: bytes, bound: bytes) -> bytes | None:
    """Returns the newest entry of a key at or behind ``bound``, which is ``layout.newest_at`` of a revision."""
    database, name = place_of(store, kind, key)
    with transaction.cursor(database) as cursor:
        return bytes(cursor.value()) if cursor.set_range_dup(name, bound) else None


def add_all(store: Store, transaction: Transaction, kind: int, entries: Entries) -> None:
    """Adds an entry to each of the keys."""
    short: list[tuple[bytes, bytes]] = []
    for key, entry in entries:
        if len(key) > SHORT_KEY_BYTES:
            long_keys.add(transaction, store.long_index, key, entry)
        else:
            short.append((key, entry))
    with transaction.cursor(store.index_of(kind)) as cursor:
        cursor.putmulti(short, dupdata=True)


def remove(store: Store, transaction: Transaction, kind: int, key: bytes, entry: bytes) -> bool:
    """Removes an entry; returns whether it was there."""
    if len(key) > SHORT_KEY_BYTES:
        return long_keys.remove(transaction, store.long_index, key, entry)
    return bool(transaction.delete(key, entry, db=store.index_of(kind)))
