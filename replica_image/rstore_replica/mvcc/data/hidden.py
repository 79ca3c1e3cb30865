"""Rows above the store's revision that nobody is to see: of a tail that is undone, or of an unfinished deletion."""

from __future__ import annotations

from rstore_replica.mvcc.data.store import Store, Transaction

HIDDEN_KEY = b"hidden"
"""In ``meta`` while there are such rows."""


def hide(store: Store, transaction: Transaction) -> None:
    """From this transaction on, readers look for "the newest" at the store's revision."""
    transaction.put(HIDDEN_KEY, b"", db=store.meta)


def show(store: Store, transaction: Transaction) -> None:
    """There are no rows above the store's revision any more."""
    transaction.delete(HIDDEN_KEY, db=store.meta)


def hides_rows(store: Store, transaction: Transaction) -> bool:
    """Returns whether "the newest" has to be looked for at the store's revision, and not at the top."""
    return transaction.get(HIDDEN_KEY, db=store.meta) is not None
