"""Holding compaction's hand: rows that another region is about to need are not removed yet.

``compact_revision`` goes up all the same, and readers see no difference: only the removal of what it superseded waits,
on this replica alone. A hold has to be released in the end; nothing here knows the time.
"""

from __future__ import annotations

from collections.abc import Callable

from rstore_replica.mvcc.data.store import Position


class Hold:
    """Everything from ``revision`` on is kept, until :meth:`release`."""

    def __init__(self, revision: int, changed: Callable[[Hold, bool], None]) -> None:
        self._revision = revision
        self._changed = changed

    @property
    def revision(self) -> int:
        """Each revision from this one on can be read, and the rows above it can be streamed."""
        return self._revision

    def move(self, revision: int) -> None:
        """What is below ``revision`` is no longer needed; never goes back."""
        if revision > self._revision:
            self._revision = revision
            self._changed(self, False)

    def release(self) -> None:
        """Nothing is needed any more. Harmless when released before."""
        self._changed(self, True)


class Holds:
    """All holds on one machine. Used on the event loop; :meth:`floor` and :meth:`limit` in any thread."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._holds: tuple[Hold, ...] = ()

    def take(self, revision: int) -> Hold:
        """Returns a new hold; the caller has made sure that nothing above ``revision`` was removed yet."""
        hold = Hold(revision, self._changed)
        self._holds = (*self._holds, hold)
        return hold

    def floor(self, position: Position) -> int:
        """The revision from which on nothing has been removed: that of the compaction, or of the lowest hold."""
        return min((position.compact_revision, *(hold.revision for hold in self._holds)))

    def clear(self) -> None:
        """Other data has taken the place of what was held; moving or releasing those holds does nothing any more."""
        self._holds = ()

    def _changed(self, hold: Hold, released: bool) -> None:
        if hold not in self._holds:
            return
        if released:
            self._holds = tuple(other for other in self._holds if other is not hold)
        self._on_change()
