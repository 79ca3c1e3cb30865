"""Leases as they are kept: what a row of a lease holds, and which keys are attached to which lease.

A lease is granted, checkpointed and revoked by rows of its own, in the same order of revisions as the keys; so whatever
has the rows has the leases: other regions, snapshots, checkpoints, and a tail that is undone takes its leases back.
Which keys are attached follows from the newest row of each key, and is kept beside them, so that nobody has to search.
"""

from __future__ import annotations

import struct
from functools import partial

import msgspec
from rstore_api import rows
from rstore_api.domain.limits import SHORT_KEY_BYTES

from rstore_replica.mvcc.data import layout, long_keys
from rstore_replica.mvcc.data.store import Database, Store, Transaction

FEATURE_LEVEL = rows.LEVELS[rows.LEASE]
"""Of the first version that knows rows of leases."""
PAGE_LEASES = 1000
_ID = struct.Struct(">q")
_LENGTH = struct.Struct(">I")
assert _ID.size == rows.LEASE_ID_BYTES


class Lease(msgspec.Struct, frozen=True):
    """A lease as it was at its newest row."""

    id: int
    ttl_seconds: int
    """As it was granted."""
    remaining_seconds: int = 0
    """How long it still had to live at ``revision``; 0: all of it."""
    revision: int = 0
    """Of the row."""

    @property
    def key(self) -> bytes:
        """The key in the database of leases."""
        return pack_id(self.id)

    @property
    def value(self) -> bytes:
        """The value of the row."""
        return rows.LEASE_VALUE.pack(self.ttl_seconds, self.remaining_seconds)


def pack_id(lease: int) -> bytes:
    """Returns a lease's key."""
    return _ID.pack(lease)


def unpack_id(key: bytes) -> int:
    """Returns the lease whose key it is."""
    return int(_ID.unpack(key)[0])


def lease_of(body: bytes, revision: int) -> Lease:
    """Returns the lease of a row that is no deletion."""
    after_id = rows.BODY_HEADER_BYTES + rows.LEASE_ID_BYTES
    ttl_seconds, remaining_seconds = rows.LEASE_VALUE.unpack(body[after_id:])
    return Lease(unpack_id(body[rows.BODY_HEADER_BYTES : after_id]), ttl_seconds, remaining_seconds, revision)


class Attachments:
    """Which keys are attached to which lease at present, inside one transaction."""

    def __init__(self, store: Store, transaction: Transaction) -> None:
        self._store = store
        self._transaction = transaction
        self._lease_of = partial(transaction.get, db=store.attached)
        self.any = any(transaction.stat(database)["entries"] for database in (store.attached, store.long_attached))
        """Whether some key may be attached: most stores have no leases, and every write asks."""

    def move(self, key: bytes, lease: int) -> None:
        """The key is attached to this lease now and to no other; 0: to none."""
        if len(key) > SHORT_KEY_BYTES:
            name = long_keys.name_of(key)
            before = self._transaction.get(name, db=self._store.long_attached)
            self._move(self._store.long_attached, self._store.long_lease_keys, name, _item_of(key, name), before, lease)
            return
        before = self._lease_of(key) if self.any else None
        self._move(self._store.attached, self._store.lease_keys, key, key, before, lease)

    def _move(
        self, attached: Database, lease_keys: Database, name: bytes, item: bytes, before: bytes | None, lease: int
    ) -> None:
        """``name`` is the key's in ``attached``, and ``item`` in ``lease_keys``."""
        after = pack_id(lease) if lease else None
        if before == after:
            return
        if before is not None:
            self._transaction.delete(before, item, db=lease_keys)
            self._transaction.delete(name, db=attached)
        if after is not None:
            self.any = True
            self._transaction.put(name, after, db=attached)
            self._transaction.put(after, item, db=lease_keys)

    def follow(self, entry: bytes | None, key: bytes) -> None:
        """The key's newest entry is this one."""
        lease = 0
        if entry is not None and not layout.is_deletion(entry):
            body = self._transaction.get(layout.row_key_of(entry), db=self._store.rows)
            if body is None:
                raise rows.DamagedRows(f"a row of {key!r} is in the index and not in the rows")
            lease = rows.attached_lease(body)
        self.move(key, lease)


def keys_of(store: Store, transaction: Transaction, lease: int) -> list[bytes]:
    """Returns the keys that are attached to a lease at present, in order."""
    keys = _items(store.lease_keys, transaction, lease)
    items = _items(store.long_lease_keys, transaction, lease)
    if items:
        keys = sorted([*keys, *(_long_key(store, transaction, item[_LENGTH.size :]) for item in items)])
    return keys


def count_keys(store: Store, transaction: Transaction, lease: int) -> int:
    """Returns how many keys are attached to a lease at present."""
    count = 0
    for database in (store.lease_keys, store.long_lease_keys):
        with transaction.cursor(database) as cursor:
            count += int(cursor.count()) if cursor.set_key(pack_id(lease)) else 0
    return count


def long_key_bytes(store: Store, transaction: Transaction, lease: int) -> int:
    """Returns how many bytes the long keys have together that are attached to a lease at present."""
    return sum(_LENGTH.unpack_from(item)[0] for item in _items(store.long_lease_keys, transaction, lease))


def _item_of(key: bytes, name: bytes) -> bytes:
    """Returns what stands for a long key among those of its lease."""
    return _LENGTH.pack(len(key)) + name


def _items(database: Database, transaction: Transaction, lease: int) -> list[bytes]:
    with transaction.cursor(database) as cursor:
        return [bytes(item) for item in cursor.iternext_dup()] if cursor.set_key(pack_id(lease)) else []


def _long_key(store: Store, transaction: Transaction, name: bytes) -> bytes:
    entry = transaction.get(name, db=store.long_index)
    body = None if entry is None else transaction.get(layout.row_key_of(entry), db=store.rows)
    if body is None:
        raise rows.DamagedRows("a long key is attached to a lease and not in the rows")
    return rows.key_of(body)


def find(store: Store, transaction: Transaction, lease: int) -> Lease | None:
    """Returns a lease that there is at present."""
    entry = transaction.get(pack_id(lease), db=store.leases)
    return _present(store, transaction, entry)


def present(
    store: Store, transaction: Transaction, after: int | None, limit: int, revision: int | None = None
) -> tuple[list[Lease], int | None]:
    """Returns leases that there are at present, or were at a revision, in order of their keys, from those behind
    ``after`` (None: from the first), and behind which one to go on; None when these were the last. Looks at no more
    than ``limit``.
    """
    bound = b"" if revision is None else layout.newest_at(revision)
    leases: list[Lease] = []
    with transaction.cursor(store.leases) as cursor:
        if after is None:
            positioned = cursor.first()
        else:
            positioned = cursor.set_range(pack_id(after))
            if positioned and cursor.key() == pack_id(after):
                positioned = cursor.next_nodup()
        last = after
        for _ in range(limit):
            if not positioned:
                return leases, None
            last = unpack_id(cursor.key())
            entry = cursor.value()
            if entry < bound:
                entry = cursor.value() if cursor.set_range_dup(cursor.key(), bound) else None
                cursor.set_key(pack_id(last))  # a failed seek leaves the cursor nowhere
            lease = _present(store, transaction, entry)
            if lease is not None:
                leases.append(lease)
            positioned = cursor.next_nodup()
    return leases, last


def all_present(store: Store, transaction: Transaction) -> dict[int, Lease | None]:
    """Returns all leases that there are at present."""
    leases, after = present(store, transaction, None, PAGE_LEASES)
    while after is not None:
        more, after = present(store, transaction, after, PAGE_LEASES)
        leases += more
    return {lease.id: lease for lease in leases}


def _present(store: Store, transaction: Transaction, entry: bytes | None) -> Lease | None:
    if entry is None or layout.is_deletion(entry):
        return None
    row_key = layout.row_key_of(entry)
    body = transaction.get(row_key, db=store.rows)
    if body is None:
        revision, sub = layout.ROW_KEY.unpack(row_key)
        raise rows.DamagedRows(f"row {revision}.{sub} is in the index of leases and not in the rows")
    return lease_of(body, layout.ROW_KEY.unpack(row_key)[0])
