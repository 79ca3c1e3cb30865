"""What compaction leaves for an archiver: what it is about to need, and what it may not have written yet when it dies.

The bounds are those of :class:`HistoryHold`, as for a region that is behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rstore_replica.raft.clock import Clock
from rstore_replica.replication.sending.history_hold import HistoryHold

TRAIL_SECONDS = 60.0
"""An archiver has written what it was sent so long ago; one with a longer ``logInterval`` may have to begin anew."""
STEP_SECONDS = 1.0
REVIEW_SECONDS = 5.0


class Trail:
    """Moves a hold behind what is being sent."""

    def __init__(self, hold: HistoryHold, clock: Clock) -> None:
        self.hold = hold
        self._clock = clock
        self._sent: deque[tuple[float, int]] = deque()

    def sent(self, revision: int) -> None:
        """Everything up to ``revision`` has been sent; to be called now and then, also where that is nothing new."""
        now = self._clock.monotonic()
        if not self._sent or now - self._sent[-1][0] >= STEP_SECONDS:
            self._sent.append((now, revision))
        while self._sent[0][0] <= now - TRAIL_SECONDS:
            self.hold.reached(self._sent.popleft()[1])
        self.hold.progressed()


class Lingering:
    """The hold of the archiver that has gone last: another one, or the same after a restart, may want what follows."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hold: HistoryHold | None = None
        self._stop: Callable[[], None] = lambda: None

    def keep(self, hold: HistoryHold) -> None:
        """Keeps this hold until it lets go by itself, or another one comes."""
        self.release()
        self._hold = hold
        self._review()

    def release(self) -> None:
        """Nothing is kept any longer."""
        self._stop()
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def _review(self) -> None:
        if self._hold is None:
            return
        self._hold.review()
        if self._hold.active:
            self._stop = self._clock.call_later(REVIEW_SECONDS, self._review).cancel
        else:
            self._hold = None
