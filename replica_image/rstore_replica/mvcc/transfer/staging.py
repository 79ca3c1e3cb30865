"""The staging area: a snapshot of another region on its way in. Part of what the replicas of a region agree on.

Its rows go to a generation of their own; this is the record of whose they are and how far they go, kept with the data.
"""

from __future__ import annotations

import msgspec
from rstore_api.domain.epochs import History
from rstore_api.messages import history_messages, history_of
from rstore_api.proto.rstore_pb2 import SnapshotChunk, StagedSnapshot

from rstore_replica.mvcc.data import generations, layout
from rstore_replica.mvcc.data.store import DataDamaged, Store, Transaction


class Staged(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot of ``store_id`` at ``revision``, in this history."""

    store_id: str
    history: History
    revision: int
    generation: int
    last_key: bytes = b""
    rows: int = 0
    size_bytes: int = 0

    def is_of(self, chunk: SnapshotChunk) -> bool:
        """Returns whether the chunk is a part of this snapshot, from any sender."""
        return (self.store_id, self.history, self.revision) == identity(chunk)

    def message(self) -> StagedSnapshot:
        """For the handshake and for Status."""
        return StagedSnapshot(
            store_id=self.store_id,
            history=history_messages(self.history),
            revision=self.revision,
            last_key=self.last_key,
            rows=self.rows,
            size_bytes=self.size_bytes,
        )


def identity(snapshot: SnapshotChunk | StagedSnapshot) -> tuple[str, History, int]:
    """Returns what names a snapshot: two with the same have the same rows."""
    return snapshot.store_id, history_of(snapshot.history), snapshot.revision


def load(store: Store, transaction: Transaction) -> Staged | None:
    """Returns what is staged, None when nothing is. Raises DataDamaged."""
    stored = transaction.get(layout.STAGED_KEY, db=store.meta)
    if stored is None:
        return None
    try:
        return msgspec.msgpack.decode(stored, type=Staged)
    except msgspec.MsgspecError as error:
        raise DataDamaged(f"the stored record of a snapshot is damaged: {error}") from error


def save(store: Store, transaction: Transaction, staged: Staged) -> None:
    """Written in the transaction of the rows that it speaks of."""
    transaction.put(layout.STAGED_KEY, msgspec.msgpack.encode(staged), db=store.meta)


def forget(store: Store, transaction: Transaction) -> None:
    """Nothing is staged any more; its rows are left to :func:`clear_some`."""
    transaction.delete(layout.STAGED_KEY, db=store.meta)


def empty(store: Store, transaction: Transaction, generation: int) -> None:
    """Empties a generation's place at once. There is mostly nothing in it."""
    view = store.at_generation(generation)
    for database in view.tables:
        if transaction.stat(database)["entries"]:
            transaction.drop(database, delete=False)


def clear_some(store: Store, transaction: Transaction, in_use: int, max_entries: int) -> bool:
    """Removes some of what is in no generation that is in use or staged; returns whether more is left."""
    staged = load(store, transaction)
    kept = {generations.place_of(in_use)} | ({generations.place_of(staged.generation)} if staged else set())
    left = max_entries
    for place in set(range(generations.PLACES)) - kept:
        view = store.at_generation(place)
        for database in view.tables:
            with transaction.cursor(database) as cursor:
                more = cursor.first()
                while more:
                    if not left:
                        return True
                    left -= 1
                    cursor.delete(dupdata=True)
                    more = bool(cursor.key())
    return False
