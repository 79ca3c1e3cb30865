"""Removing the rows above a revision, with their index entries; the entries before them are then the newest again."""

from __future__ import annotations

from rstore_api import rows

from rstore_replica.mvcc.data import index, layout
from rstore_replica.mvcc.data.leases import Attachments
from rstore_replica.mvcc.data.store import Store, Transaction


def undo(store: Store, transaction: Transaction, revision: int, max_rows: int) -> bool:
    """Removes at most ``max_rows`` of the rows above ``revision``, from the newest down; whether all of them are gone.

    On the way there, reads at or below ``revision`` see no difference.
    """
    attachments = Attachments(store, transaction)
    # Where no row of a lease is left, no key that is left was ever attached to one.
    has_leases = transaction.stat(store.leases)["entries"] > 0
    with transaction.cursor(store.rows) as cursor:
        more = cursor.last()
        while more:
            row_revision, sub = layout.ROW_KEY.unpack(cursor.key())
            if row_revision <= revision:
                break
            if max_rows <= 0:
                return False
            row = rows.unpack(row_revision, sub, cursor.value())
            max_rows -= rows.cost(row.key)
            entry = layout.pack_entry(row_revision, sub, row.create_revision, row.version)
            if not index.remove(store, transaction, row.kind, row.key, entry):
                raise rows.DamagedRows(f"row {row_revision}.{sub} is not in the index")
            cursor.delete()
            if has_leases and row.kind == rows.KEY:
                attachments.follow(index.newest(store, transaction, row.key), row.key)
            more = cursor.last()
    return True
