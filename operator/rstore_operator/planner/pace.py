"""How often each of many stores is looked at: less often, the more of them are looked at more often than at rest.

Hundreds of stores that are made at once, or that lose a region at once, would else keep the process busy with looks
that show nothing new, and what has changed would wait for them. A change that a watch shows wakes a store in any case.
The same holds for plans of stores at rest, which are made anew after a while: the more stores, the longer they stand.
"""

from __future__ import annotations

SPACING_SECONDS = 0.02
"""How long after another's look that of a store which is looked at often is due, on average."""
PLANNED_ANEW_SECONDS = 0.2
"""How long after another's plan that of a store at rest is made anew, on average."""

Store = tuple[str, str]
"""Namespace and name."""


class Pace:
    """The stores of one operator process that are looked at often."""

    def __init__(self) -> None:
        self._often: set[Store] = set()
        self._seldom: set[Store] = set()

    def wait_seconds(self, store: Store, wanted: float, at_most: float) -> float:
        """Returns after how many seconds the store is looked at again: ``wanted``, or later, but not later than
        ``at_most``."""
        if wanted < at_most:
            self._often.add(store)
            self._seldom.discard(store)
        else:
            self._seldom.add(store)
            self._often.discard(store)
        return max(wanted, min(at_most, SPACING_SECONDS * len(self._often)))

    def stands_seconds(self, wanted: float) -> float:
        """Returns how long the plan of a store at rest stands: ``wanted``, or longer."""
        return max(wanted, PLANNED_ANEW_SECONDS * len(self._seldom))

    def forget(self, store: Store) -> None:
        """The store is gone."""
        self._often.discard(store)
        self._seldom.discard(store)
