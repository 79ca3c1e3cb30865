"""Deletes all keys of a range in one revision, in steps of bounded size, each of which is a transaction of its own.

The rows are written above the store's revision, where nobody sees them (``data/hidden.py``), until the last step raises
the revision. Nothing else is applied in between, so that the keys from the next one on are what they were at the
beginning. How far it is, is kept with the data: after a restart it goes on, in a checkpoint it is included.
"""

from __future__ import annotations

import msgspec
from rstore_api import key_hash, rows
from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_api.proto.rstore_pb2 import DeletedRange

from rstore_replica.mvcc.data import deleted_ranges, hidden, layout
from rstore_replica.mvcc.data.store import DataDamaged, Position, Store, Transaction
from rstore_replica.mvcc.data.undo import undo
from rstore_replica.mvcc.data.writer import Writer

DEFAULT_STEP_KEYS = 1024
"""A step takes some milliseconds."""


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """How far a deletion is. ``next_key`` None: all keys have been deleted."""

    index: int
    """Of the entry in the log."""
    next_key: bytes | None
    count: int = 0
    checksum: int = 0
    refused: bool = False
    """The keys were not those that they should be: the rows that were written are being removed."""
    cost: int = 0
    """As ``count``, with more for a long key (``rows.cost``)."""


def load(store: Store, transaction: Transaction) -> Progress | None:
    """Returns how far the deletion is that has begun and has not ended; None when there is none. Raises DataDamaged."""
    stored = transaction.get(layout.DELETING_KEY, db=store.meta)
    if stored is None:
        return None
    try:
        return msgspec.msgpack.decode(stored, type=Progress)
    except msgspec.MsgspecError as error:
        raise DataDamaged(f"the stored progress of a deletion is damaged: {error}") from error


class Deleting:
    """The steps of one deletion, inside the transaction of one of them."""

    def __init__(
        self, store: Store, transaction: Transaction, position: Position, *, index: int, revision: int, step_keys: int
    ) -> None:
        """``index`` is the entry's, ``revision`` the one that the deletion becomes."""
        self._store = store
        self._transaction = transaction
        self._position = position
        self._index = index
        self._revision = revision
        self._step_keys = step_keys
        begun = load(store, transaction)
        self.begun = begun is not None
        """Whether a step was taken before."""
        self._progress = begun or Progress(index, None)

    def step(self, key: bytes, range_end: bytes, expected: DeletedRange | None = None) -> Progress | None:
        """Deletes more keys; returns the deletion once it is complete, None when another step has to follow.

        Where ``expected`` names other keys, nothing is deleted in the end, and the result is ``refused``.
        """
        start, end = layout.key_range(key, range_end)
        progress = self._progress
        if not self.begun:
            progress = msgspec.structs.replace(progress, next_key=start)
        if progress.next_key is None:  # it was refused
            done = undo(self._store, self._transaction, self._revision - 1, self._step_keys)
        else:
            progress = self._delete(progress, progress.next_key, end)
            done = progress.next_key is None
            if done and expected and (progress.count, progress.checksum) != (expected.count, expected.checksum):
                progress = msgspec.structs.replace(progress, refused=True)
                done = not progress.count
        if done:
            self._end(progress, key, range_end)
            return progress
        self._go_on_later(progress)
        return None

    def _delete(self, progress: Progress, start: bytes, end: bytes | None) -> Progress:
        writer = Writer(self._store, self._transaction, self._revision - 1)
        writer.sub = progress.count
        keys, next_key = writer.some_keys(start, end, self._step_keys)
        writer.delete_all(keys)
        writer.flush()
        checksum = key_hash.extend_names(progress.checksum, keys)
        has_long_key = max(map(len, keys), default=0) > SHORT_KEY_BYTES
        return msgspec.structs.replace(
            progress,
            next_key=next_key,
            count=progress.count + len(keys),
            checksum=checksum,
            cost=progress.cost + (sum(map(rows.cost, keys)) if has_long_key else len(keys)),
        )

    def _go_on_later(self, progress: Progress) -> None:
        self._transaction.put(layout.DELETING_KEY, msgspec.msgpack.encode(progress), db=self._store.meta)
        hidden.hide(self._store, self._transaction)

    def _end(self, progress: Progress, key: bytes, range_end: bytes) -> None:
        if self.begun:
            self._transaction.delete(layout.DELETING_KEY, db=self._store.meta)
            hidden.show(self._store, self._transaction)
        if max(progress.count, progress.cost) > self._step_keys and not progress.refused:
            note = DeletedRange(
                revision=self._revision,
                key=key,
                range_end=range_end,
                count=progress.count,
                checksum=progress.checksum,
            )
            deleted_ranges.save(self._store, self._transaction, note, self._position)
