"""Notes of the revisions that deleted a range of many keys, and did nothing else.

Such a revision may have more rows than one message or one entry of a log can take. It is sent to other regions as this
note: the regions hold the same keys at the revision before it, so that "all keys of the range" are the same rows, and
count and checksum say whether they are. The rows themselves are stored like any others. Notes are kept in ``meta``.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from rstore_api.proto.rstore_pb2 import DeletedRange

from rstore_replica.mvcc.data.store import DataDamaged, Position, Store, Transaction

PREFIX = b"deleted/"


def save(store: Store, transaction: Transaction, note: DeletedRange, position: Position) -> None:
    """Keeps a note, in the transaction with the revision's last rows; those that are not needed any more go."""
    with transaction.cursor(store.meta) as cursor:
        while cursor.set_range(PREFIX) and _is_below(bytes(cursor.key()), position.swept_revision):
            cursor.delete()
    transaction.put(_place(note.revision), note.SerializeToString(), db=store.meta)


def first_after(store: Store, transaction: Transaction, revision: int) -> DeletedRange | None:
    """Returns the note of the first such revision above ``revision``. Raises DataDamaged."""
    with transaction.cursor(store.meta) as cursor:
        if not cursor.set_range(_place(revision + 1)) or not cursor.key().startswith(PREFIX):
            return None
        try:
            return DeletedRange.FromString(cursor.value())
        except DecodeError as error:
            raise DataDamaged(f"the note of a deletion is damaged: {error}") from error


def forget_above(store: Store, transaction: Transaction, revision: int) -> None:
    """The revisions above ``revision`` are not in the data any more."""
    with transaction.cursor(store.meta) as cursor:
        while cursor.set_range(_place(revision + 1)) and cursor.key().startswith(PREFIX):
            cursor.delete()


def _place(revision: int) -> bytes:
    return PREFIX + revision.to_bytes(8, "big")


def _is_below(place: bytes, revision: int) -> bool:
    return place.startswith(PREFIX) and place < _place(revision)
