"""How long compaction waits for one other region.

While a region takes what it needs, the rows it is about to need stay on this replica, whatever clients and retention
have compacted meanwhile: else a compaction would turn every lag into a snapshot, and what was written during a snapshot
could not follow it. That must not go on for ever, so a region that does not get on, or that has kept compaction waiting
for too long altogether, has to begin anew with a snapshot. Nor when the room is needed for writes.
"""

from __future__ import annotations

from rstore_api import errors
from rstore_api.logs import get_logger

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.ports import HoldView, ReplicatedMachine

log = get_logger(__name__)


class HistoryHold:
    """At most one hold on the machine, for one region; outlives the streams to it."""

    def __init__(
        self, target: str, *, machine: ReplicatedMachine, clock: Clock, idle_seconds: float, total_seconds: float
    ) -> None:
        """Let go when compaction has waited for ``idle_seconds`` without progress, or for ``total_seconds`` at all; and
        when the store is nearly full.
        """
        self._target = target
        self._machine = machine
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._total_seconds = total_seconds
        self._hold: HoldView | None = None
        self._progress_at = clock.monotonic()
        self._waiting_since: float | None = None

    @property
    def active(self) -> bool:
        """Whether anything is held."""
        return self._hold is not None

    def take(self, revision: int) -> bool:
        """Holds from ``revision`` on instead of from where it did; False when something of that is gone already."""
        try:
            hold = self._machine.hold(revision)
        except errors.Compacted:
            return False
        self.release()
        self._hold = hold
        self._progress_at = self._clock.monotonic()
        return True

    def reached(self, revision: int) -> None:
        """The region has committed everything up to ``revision``."""
        if self._hold is None:
            self.take(revision)
        else:
            self._hold.move(revision)
        self.progressed()

    def progressed(self) -> None:
        """The region has committed something."""
        self._progress_at = self._clock.monotonic()

    def review(self) -> None:
        """Lets go when it is time to; to be called now and then."""
        if self._hold is None or self._hold.revision >= self._machine.compact_revision:
            self._waiting_since = None if self._hold is not None else self._waiting_since
            return
        now = self._clock.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        idle, total = now - max(self._progress_at, self._waiting_since), now - self._waiting_since
        full = self._machine.is_nearly_full
        if full or idle >= self._idle_seconds or total >= self._total_seconds:
            log.warning(
                "history_let_go",
                region=self._target,
                revision=self._hold.revision,
                compact_revision=self._machine.compact_revision,
                idle_seconds=round(idle, 1),
                waited_seconds=round(total, 1),
                nearly_full=full,
            )
            self.release()

    def release(self) -> None:
        """Compaction need not wait for this region."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None
