"""How often each of many stores is looked at: less often, the more of them are looked at more often than at rest.

Hundreds of stores that are made at once, or that lose a region at once, would else keep the process busy with looks
that show nothing new, and what has changed would wait for them. A change that a watch shows wakes a store in any case.
"""

from __future__ import annotations

SPACING_SECONDS = 0.02
"""How long after another's look that of a store which is looked at often is due, on average."""

Store = tuple[str, str]
"""Namespace and name."""


class Pace:
    """The stores of one operator process that are looked at often."""

    def __init__(self) -> None:
        self._often: set[Store] = set()

    def wait_seconds(self, store: Store, wanted: float, at_most: float) -> float:
        """Returns after how many seconds the store is looked at again: ``wanted``, or later, but not later than
        ``at_most``."""
        if wanted < at_most:
            self._often.add(store)
        else:
            self._often.discard(store)
        return max(wanted, min(at_most, SPACING_SECONDS * len(self._often)))

    def forget(self, store: Store) -> None:
        """The store is gone."""
        self._often.discard(store)
