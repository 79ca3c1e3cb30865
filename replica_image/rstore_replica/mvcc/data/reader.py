"""Reads of keys inside one LMDB transaction, at the present or at a past revision."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import chain, islice

from rstore_api import rows
from rstore_api.domain.epochs import History
from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_api.proto.kv_pb2 import KeyValue

from rstore_replica.mvcc.data import index, layout, long_keys
from rstore_replica.mvcc.data.layout import ENTRY_VERSION, NO_VERSION
from rstore_replica.mvcc.data.store import Store, Transaction
from rstore_replica.mvcc.data.walks import Found, OnPass

COUNT_KEYS = 256
LONG_KEYS_AT_A_TIME = 8
"""Read in one step, in which no other thread runs."""


class Reader:
    """Sees one consistent state. ``revision`` None means the newest, with what the transaction itself has written."""

    def __init__(self, store: Store, transaction: Transaction, region: str = "") -> None:
        """``region`` is whose replicated state the transaction holds."""
        self.store = store
        self.transaction = transaction
        self._region = region
        self._has_long_keys: bool | None = None
        """None: not known yet."""
        self.bound: int | None = None
        """Where rows above the newest revision are hidden, that revision: what "the newest" means then."""

    def history(self) -> History:
        """Returns the epochs that the data went through."""
        return self.store.load_region(self.transaction, self._region).history

    def newest(self, key: bytes) -> bytes | None:
        """Returns the newest index entry of a key, also when it is a deletion."""
        if len(key) > SHORT_KEY_BYTES:
            return index.newest(self.store, self.transaction, key)
        entry: bytes | None = self.transaction.get(key, db=self.store.index)
        return entry

    def entry(self, key: bytes, revision: int | None = None) -> bytes | None:
        """Returns the index entry of a key that exists (at ``revision``), else None."""
        entry = self.newest(key)
        revision = self.bound if revision is None else revision
        if revision is not None and entry is not None:
            first = layout.newest_at(revision)
            if entry < first:
                entry = index.newest_behind(self.store, self.transaction, rows.KEY, key, first)
        if entry is None or entry[ENTRY_VERSION] == NO_VERSION:
            return None
        return entry

    def scan(
        self, start: bytes, end: bytes | None, revision: int | None = None, on_pass: OnPass | None = None
    ) -> Iterator[Found]:
        """(key, index entry) of the keys in [start, end) that exist (at ``revision``), in order of the keys.

        ``on_pass`` is called with each of the others. Nothing may be written in the transaction until the scan is over.
        """
        revision = self.bound if revision is None else revision
        bound = None if revision is None else layout.newest_at(revision)
        if self.holds_long_keys(start, end):
            return _present(self.all_entries(start, end, bound), on_pass)
        return self._scan_short(start, end, bound, on_pass)

    def holds_long_keys(self, start: bytes, end: bytes | None) -> bool:
        """Returns whether there may be long keys in [start, end)."""
        return self._least_long_key(start, end) is not None

    def _least_long_key(self, start: bytes, end: bytes | None) -> bytes | None:
        """Returns a lower bound of the long keys in [start, end); None where there are none."""
        if self._has_long_keys is None:
            self._has_long_keys = self.transaction.stat(self.store.long_index)["entries"] > 0
        if not self._has_long_keys:
            return None
        least = long_keys.least_from(self.transaction, self.store.long_index, start)
        return None if least is None or (end is not None and least >= end) else least

    def _long_entries(self, start: bytes, end: bytes | None, bound: bytes | None) -> Iterator[Found]:
        return long_keys.entries(self.transaction, self.store.long_index, start, end, bound)

    def _scan_short(
        self, start: bytes, end: bytes | None, bound: bytes | None, on_pass: OnPass | None = None
    ) -> Iterator[Found]:
        with self.transaction.cursor(self.store.index) as cursor:
            # No key in it is longer than the limit, so that everything from a longer one on is above its prefix.
            if not cursor.set_range(start[:SHORT_KEY_BYTES] or b"\0"):
                return
            for key, entry in cursor.iternext_nodup(keys=True, values=True):
                if end is not None and key >= end:
                    return
                if key < start:
                    continue
                if bound is not None and entry < bound:
                    if not cursor.set_range_dup(key, bound):
                        cursor.set_key(key)  # a failed seek leaves the cursor nowhere
                        if on_pass is not None:
                            on_pass(key)
                        continue
                    entry = cursor.value()
                if entry[ENTRY_VERSION] != NO_VERSION:
                    yield key, entry
                elif on_pass is not None:
                    on_pass(key)

    def some_keys(self, start: bytes, end: bytes | None, max_visited: int) -> tuple[list[bytes], bytes | None]:
        """Returns the first keys in [start, end) that exist at present, and where to go on; None where all were seen.

        At most ``max_visited`` keys are looked at, deleted ones included, and fewer where they are long ones.
        """
        if self.holds_long_keys(start, end):
            return self._some_of_all_keys(start, end, max_visited)
        with self.transaction.cursor(self.store.index) as cursor:
            positioned = cursor.set_range(start[:SHORT_KEY_BYTES] or b"\0")
            if positioned and cursor.key() < start:  # a start longer than any key
                positioned = cursor.next_nodup()
            if not positioned:
                return [], None
            visited = list(islice(cursor.iternext_nodup(keys=True, values=True), max_visited))
        keys = [key for key, entry in visited if (end is None or key < end) and entry[ENTRY_VERSION] != NO_VERSION]
        last = visited[-1][0]
        is_last = len(visited) < max_visited or (end is not None and last >= end)
        return keys, None if is_last else last + b"\0"

    def _some_of_all_keys(self, start: bytes, end: bytes | None, max_visited: int) -> tuple[list[bytes], bytes | None]:
        """As :meth:`some_keys`, where some are long ones."""
        keys: list[bytes] = []
        visited = 0
        for key, entry in self.all_entries(start, end):
            if visited >= max_visited:
                return keys, key
            visited += rows.cost(key)
            if entry[ENTRY_VERSION] != NO_VERSION:
                keys.append(key)
        return keys, None

    def all_entries(self, start: bytes, end: bytes | None, bound: bytes | None = None) -> Iterator[Found]:
        """Yields the keys in [start, end) in order, those too that do not exist, with their newest entries.

        With ``bound``, which is ``layout.newest_at`` of a revision, with the newest behind it: one that counts as a
        deletion where there is none.
        """
        short = self._short_entries(start, end, bound)
        least = self._least_long_key(start, end)
        return short if least is None else _merged(short, least, self._long_entries(start, end, bound))

    def _short_entries(self, start: bytes, end: bytes | None, bound: bytes | None) -> Iterator[Found]:
        with self.transaction.cursor(self.store.index) as cursor:
            positioned = cursor.set_range(start[:SHORT_KEY_BYTES] or b"\0")
            while positioned:
                key, entry = cursor.item()
                if end is not None and key >= end:
                    return
                if bound is not None and entry < bound:
                    if cursor.set_range_dup(key, bound):
                        entry = cursor.value()
                    else:
                        entry = layout.NO_ENTRY
                        cursor.set_key(key)  # a failed seek leaves the cursor nowhere
                if key >= start:
                    yield key, entry
                positioned = cursor.next_nodup()

    def count(
        self, start: bytes, end: bytes | None, revision: int | None = None, pace: Callable[[], None] = lambda: None
    ) -> int:
        """Returns how many keys :meth:`scan` yields, in half the time. ``pace`` is called after each step."""
        revision = self.bound if revision is None else revision
        bound = None if revision is None else layout.newest_at(revision)
        count = self._count_short(start, end, bound, pace)
        if self.holds_long_keys(start, end):
            present = _present(self._long_entries(start, end, bound))
            while step := sum(1 for _ in islice(present, LONG_KEYS_AT_A_TIME)):
                count += step
                pace()
        return count

    def _count_short(self, start: bytes, end: bytes | None, bound: bytes | None, pace: Callable[[], None]) -> int:
        count = 0
        with self.transaction.cursor(self.store.index) as cursor:
            if not cursor.set_range(start[:SHORT_KEY_BYTES] or b"\0"):
                return 0
            entries = cursor.iternext_nodup(keys=False, values=True)
            while step := list(islice(entries, COUNT_KEYS)):
                last: bytes = cursor.key()  # of the step; nothing behind the last key of all
                is_last = not last or (end is not None and last >= end)
                if is_last or (bound is not None and min(step) < bound) or len(start) > SHORT_KEY_BYTES:
                    # At the end, where a key has changed since, and at a start longer than any key: key by key.
                    count += sum(1 for _ in self._scan_short(start, end if is_last else last + b"\0", bound))
                    if is_last:
                        break
                else:
                    count += len(step) - layout.count_deletions(step)
                start = last + b"\0"
                pace()
        return count

    def body(self, entry: bytes) -> bytes:
        """The packed row that an index entry stands for; raises :class:`rows.DamagedRows` when it is not there."""
        row_key = layout.row_key_of(entry)
        body: bytes | None = self.transaction.get(row_key, db=self.store.rows)
        if body is None:
            revision, sub = layout.ROW_KEY.unpack(row_key)
            raise rows.DamagedRows(f"row {revision}.{sub} is in the index and not in the rows")
        return body

    def value_and_lease(self, key: bytes, entry: bytes) -> tuple[bytes, int]:
        """Value and lease of a put."""
        body = self.body(entry)
        _, _, key_bytes, _, _, lease = rows.BODY_HEADER.unpack_from(body)
        end_of_key = rows.BODY_HEADER_BYTES + key_bytes
        if body[rows.BODY_HEADER_BYTES : end_of_key] == key:
            return body[end_of_key:], lease
        start, end_of_key = rows.key_span(body)
        if body[start:end_of_key] != key:
            raise rows.DamagedRows(f"the index entry of {key!r} stands for a row of another key")
        return body[end_of_key:], lease

    def key_value(self, key: bytes, entry: bytes, *, keys_only: bool = False) -> KeyValue:
        """Returns etcd's KeyValue of a put."""
        kv = KeyValue()
        self.fill(kv, key, entry, keys_only=keys_only)
        return kv

    def fill(self, kv: KeyValue, key: bytes, entry: bytes, *, keys_only: bool = False) -> None:
        """As :meth:`key_value`, into an empty message."""
        revision, _, create_revision, version = layout.unpack_entry(entry)
        value, lease = self.value_and_lease(key, entry)
        kv.key = key
        kv.create_revision = create_revision
        kv.mod_revision = revision
        kv.version = version
        if not keys_only:
            kv.value = value
        if lease:
            kv.lease = lease


def _present(entries: Iterator[Found], on_pass: OnPass | None = None) -> Iterator[Found]:
    """Yields the keys that exist; ``on_pass`` is called with each of the others, more often where it is a long one."""
    for key, entry in entries:
        if entry[ENTRY_VERSION] != NO_VERSION:
            yield key, entry
        elif on_pass is not None:
            for _ in range(rows.cost(key)):
                on_pass(key)


def _merged(short: Iterator[Found], least: bytes, long: Iterator[Found]) -> Iterator[Found]:
    """Yields short and long keys in order; ``least`` is a lower bound of the long ones, which are not read before."""
    for found in short:
        if found[0] >= least:
            yield from heapq.merge(chain((found,), short), long)
            return
        yield found
    yield from long
