"""Writes of rows inside one LMDB transaction: collected, then put in bulk. The hot path of every apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from rstore_api import rows
from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_api.rows import (
    BODY_HEADER,
    FLAGS_AT,
    FORMAT_VERSION,
    KIND_BITS,
    LEASE_FIELD,
    NO_LEASE,
    SPECIAL_BITS,
    Frame,
)

from rstore_replica.mvcc.data import leases, long_keys
from rstore_replica.mvcc.data.auth import AuthRecords
from rstore_replica.mvcc.data.layout import ENTRY, ENTRY_VERSION, MASK32, MASK64, NO_ENTRY, NO_VERSION, ROW_KEY
from rstore_replica.mvcc.data.leases import Attachments, Lease
from rstore_replica.mvcc.data.reader import Reader
from rstore_replica.mvcc.data.store import Store, Transaction
from rstore_replica.mvcc.data.walks import Found, OnPass, Walks

_pack_entry, _unpack_entry = ENTRY.pack, ENTRY.unpack
_pack_body, _pack_row_key = BODY_HEADER.pack, ROW_KEY.pack


class Writer(Reader):
    """A reader that also writes, and that reads what it wrote.

    ``revision`` is the newest complete revision. Changes belong to the next one, until :meth:`end_revision`.
    """

    def __init__(
        self, store: Store, transaction: Transaction, revision: int, region: str = "", walks: Walks | None = None
    ) -> None:
        """``walks`` bounds the time that scans take: they raise SliceEndedError."""
        super().__init__(store, transaction, region)
        self._walks = walks
        self.revision = revision
        self.sub = 0
        self._rows: list[tuple[bytes, bytes]] = []
        self._index: list[tuple[bytes, bytes]] = []
        self._long_index: list[tuple[bytes, bytes]] = []
        self._newest: dict[bytes, bytes] = {}
        self._attachments = Attachments(store, transaction)
        self._other_index: dict[int, list[tuple[bytes, bytes]]] = {rows.LEASE: [], rows.AUTH: []}
        self.lease_changes: dict[int, Lease | None] = {}
        """Leases that were granted, and None for one that is gone."""
        self._get: Callable[[bytes], bytes | None] = partial(transaction.get, db=store.index)

    @property
    def changed(self) -> bool:
        """Whether the next revision has changes."""
        return self.sub > 0

    @property
    def visible_revision(self) -> int:
        """The revision that a read sees now: the next one if it has changes."""
        return self.revision + 1 if self.sub else self.revision

    def end_revision(self) -> None:
        """The changes since the last call become a revision; nothing happens when there are none."""
        if self.sub:
            self.revision += 1
            self.sub = 0

    def newest(self, key: bytes) -> bytes | None:
        """As in :class:`Reader`, with what was put and not flushed yet."""
        return self._newest.get(key) or super().newest(key)

    def put(self, key: bytes, value: bytes, lease: int) -> int:
        """Writes a key; returns the revision it belongs to."""
        if len(key) > SHORT_KEY_BYTES:
            return self._put_long(key, value, lease)
        newest, revision, sub = self._newest, self.revision + 1, self.sub
        previous = newest.get(key) or self._get(key)
        if previous is None or previous[ENTRY_VERSION] == NO_VERSION:
            create_revision, version = revision, 1
        else:
            _, _, create_revision, version = _unpack_entry(previous)
            version += 1
        newest[key] = entry = _pack_entry(MASK64 - revision, MASK32 - sub, create_revision, version)
        self._index.append((key, entry))
        body = _pack_body(FORMAT_VERSION, 0, len(key), create_revision, version, lease) + key + value
        self._rows.append((_pack_row_key(revision, sub), body))
        self.sub = sub + 1
        if lease or self._attachments.any:
            self._attachments.move(key, lease)
        return revision

    def _put_long(self, key: bytes, value: bytes, lease: int) -> int:
        revision, sub = self.revision + 1, self.sub
        create_revision, version = self._following(self.newest(key))
        self._newest[key] = entry = _pack_entry(MASK64 - revision, MASK32 - sub, create_revision, version)
        self._long_index.append((key, entry))
        self._rows.append((_pack_row_key(revision, sub), rows.pack_body(key, value, create_revision, version, lease)))
        self.sub = sub + 1
        self._attachments.move(key, lease)
        return revision

    def _following(self, previous: bytes | None) -> tuple[int, int]:
        """Returns create revision and version of what is put where the newest entry is ``previous``."""
        if previous is None or previous[ENTRY_VERSION] == NO_VERSION:
            return self.revision + 1, 1
        _, _, create_revision, version = _unpack_entry(previous)
        return create_revision, version + 1

    def put_all(self, puts: Sequence[tuple[bytes, bytes]]) -> int:
        """As :meth:`put` for several short keys, all different, without a lease."""
        newest, revision, first = self._newest, self.revision + 1, self.sub
        not_revision, add_index, add_row = MASK64 - revision, self._index.append, self._rows.append
        find, index = self.transaction.get, self.store.index  # key by key is quicker than getmulti
        for sub, (key, value) in enumerate(puts, first):
            _, _, create_revision, version = _unpack_entry(newest.get(key) or find(key, NO_ENTRY, index))
            if version == 0:
                create_revision = revision
            version += 1
            newest[key] = entry = _pack_entry(not_revision, MASK32 - sub, create_revision, version)
            add_index((key, entry))
            body = _pack_body(FORMAT_VERSION, 0, len(key), create_revision, version, 0)
            add_row((_pack_row_key(revision, sub), body + key + value))
        self.sub = first + len(puts)
        if self._attachments.any:
            for key, _ in puts:
                self._attachments.move(key, 0)
        return revision

    def delete_all(self, keys: Sequence[bytes]) -> None:
        """Writes the deletion of keys that exist, all different."""
        revision, first = self.revision + 1, self.sub
        not_revision = MASK64 - revision
        index = [(key, _pack_entry(not_revision, MASK32 - sub, 0, 0)) for sub, key in enumerate(keys, first)]
        self._newest.update(index)
        heads = {size: rows.deletion_head(size) for size in set(map(len, keys))}
        if max(heads, default=0) > SHORT_KEY_BYTES:
            self._long_index += [pair for pair in index if len(pair[0]) > SHORT_KEY_BYTES]
            index = [pair for pair in index if len(pair[0]) <= SHORT_KEY_BYTES]
        self._index += index
        self._rows += [(_pack_row_key(revision, sub), heads[len(key)] + key) for sub, key in enumerate(keys, first)]
        self.sub = first + len(keys)
        if self._attachments.any:
            for key in keys:
                self._attachments.move(key, 0)

    def lease(self, lease: int) -> Lease | None:
        """Returns a lease that there is."""
        self.flush()
        return leases.find(self.store, self.transaction, lease)

    def count_lease_keys(self, lease: int) -> int:
        """Returns how many keys are attached to a lease."""
        return leases.count_keys(self.store, self.transaction, lease)

    def long_lease_key_bytes(self, lease: int) -> int:
        """Returns how many bytes the long keys have together that are attached to a lease."""
        return leases.long_key_bytes(self.store, self.transaction, lease)

    def put_lease(self, lease: Lease) -> None:
        """Grants a lease, or changes what is kept of it."""
        if self._put_other(rows.LEASE, lease.key, lease.value) == 1:
            self.lease_changes[lease.id] = lease

    def revoke_lease(self, lease: int) -> list[bytes]:
        """Deletes a lease that there is, and its keys, which are returned."""
        self.flush()
        keys = leases.keys_of(self.store, self.transaction, lease)
        self.delete_all(keys)
        self._delete_other(rows.LEASE, leases.pack_id(lease))
        self.lease_changes[lease] = None
        return keys

    def auth(self) -> AuthRecords:
        """Returns the users and roles that there are."""
        self.flush()
        return AuthRecords(self.store, self.transaction)

    def put_auth(self, key: bytes, value: bytes) -> None:
        """Writes the switch, a user or a role."""
        self._put_other(rows.AUTH, key, value)

    def delete_auth(self, key: bytes) -> None:
        """Deletes a user or role that there is."""
        self._delete_other(rows.AUTH, key)

    def _put_other(self, kind: int, key: bytes, value: bytes) -> int:
        """Returns the version: 1 for what there was not."""
        self.flush()
        create_revision, version = self._following(self.transaction.get(key, db=self.store.index_of(kind)))
        body = rows.of_kind(rows.pack_body(key, value, create_revision, version, 0), kind)
        self._add_other(kind, key, body, create_revision, version)
        return version

    def _delete_other(self, kind: int, key: bytes) -> None:
        self._add_other(kind, key, rows.of_kind(rows.pack_deletion(key), kind), 0, 0)

    def _add_other(self, kind: int, key: bytes, body: bytes, create_revision: int, version: int) -> None:
        revision, sub = self.revision + 1, self.sub
        entry = _pack_entry(MASK64 - revision, MASK32 - sub, create_revision, version)
        self._other_index[kind].append((key, entry))
        self._rows.append((_pack_row_key(revision, sub), body))
        self.sub = sub + 1

    def append_all(self, frames: Sequence[Frame]) -> None:
        """Hands rows to LMDB as they are; they come in ascending order, and above all that there is."""
        self.flush()
        index: list[tuple[bytes, bytes]] = []
        long_index: list[tuple[bytes, bytes]] = []
        for revision, sub, _, body, key, create_revision, version in frames:
            entry = _pack_entry(MASK64 - revision, MASK32 - sub, create_revision, version)
            if special := body[FLAGS_AT] & SPECIAL_BITS:
                if kind := special & KIND_BITS:
                    self._other_index[kind].append((key, entry))
                    continue
                long_index.append((key, entry))
            else:
                index.append((key, entry))
            if self._attachments.any or body[LEASE_FIELD] != NO_LEASE:
                self._attachments.move(key, rows.attached_lease(body))
        self._store([(row_key, body) for _, _, row_key, body, _, _, _ in frames], index, long_index)

    def flush(self) -> None:
        """Hands what was collected to LMDB; before every scan, every read of a row, and the commit."""
        if not self._rows:
            return
        self._store(self._rows, self._index, self._long_index)
        self._rows.clear()
        self._index.clear()
        self._long_index.clear()
        self._newest.clear()

    def _store(
        self,
        found: list[tuple[bytes, bytes]],
        index: list[tuple[bytes, bytes]],
        long_index: list[tuple[bytes, bytes]],
    ) -> None:
        with self.transaction.cursor(self.store.rows) as cursor:
            cursor.putmulti(found, append=True)
        with self.transaction.cursor(self.store.index) as cursor:
            cursor.putmulti(index, dupdata=True)
        if long_index:
            self._has_long_keys = True
        for key, entry in long_index:
            long_keys.add(self.transaction, self.store.long_index, key, entry)
        for kind, entries in self._other_index.items():
            if entries:
                with self.transaction.cursor(self.store.index_of(kind)) as cursor:
                    cursor.putmulti(entries, dupdata=True)
                entries.clear()

    def entry(self, key: bytes, revision: int | None = None) -> bytes | None:
        """As in :class:`Reader`."""
        if revision is not None:
            self.flush()
        return super().entry(key, revision)

    def scan(
        self,
        start: bytes,
        end: bytes | None,
        revision: int | None = None,
        on_pass: OnPass | None = None,
    ) -> Iterator[Found]:
        """As in :class:`Reader`; where there are ``walks`` they take the place of ``on_pass``."""
        self.flush()
        scan = super().scan
        if self._walks is None:
            return scan(start, end, revision, on_pass)
        return self._walks.walk(start, lambda begin, on_pass: scan(begin, end, revision, on_pass))

    def count(
        self, start: bytes, end: bytes | None, revision: int | None = None, pace: Callable[[], None] = lambda: None
    ) -> int:
        """As in :class:`Reader`, by :meth:`scan`. ``pace`` is called once."""
        count = sum(1 for _ in self.scan(start, end, revision))
        pace()
        return count

    def some_keys(self, start: bytes, end: bytes | None, max_visited: int) -> tuple[list[bytes], bytes | None]:
        """As in :class:`Reader`."""
        self.flush()
        return super().some_keys(start, end, max_visited)

    def body(self, entry: bytes) -> bytes:
        """As in :class:`Reader`."""
        self.flush()
        return super().body(entry)
