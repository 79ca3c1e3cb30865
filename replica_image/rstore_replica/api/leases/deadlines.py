"""When leases end, as the primary's leader counts it: only decisions, the time comes in as an argument.

The log holds that a lease was granted and for how long; when it was renewed last only the leader knows. Times are
seconds on the leader's own monotonic clock. A lease ends later than promised to its client, never earlier: each answer
that promises a client time moves the deadline first.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

CHECKPOINT_SECONDS = 300.0
"""A lease that is not renewed for so long has its remaining time written to the log, and again after as long, as in
etcd: a leader that begins does not give it all of its time anew."""
_LOOKS_PER_RESULT = 8
_STALE_ITEMS = 1024


@dataclass(slots=True)
class _Clocked:
    seconds: int
    ends_at: float
    checkpoint_at: float
    checkpointed: bool
    """Whether the log may say less than what the client was promised."""
    over: bool = False
    """Whether its time is over: nobody renews it any more, for its revocation may be in the log."""
    revoking: bool = False
    """Whether it has been handed out to be revoked."""


class Deadlines:
    """The leases that there are, and when each ends."""

    def __init__(self) -> None:
        self._leases: dict[int, _Clocked] = {}
        # A lease has an item in each for the time at which it is looked at next; a renewal moves none.
        self._ends: list[tuple[float, int]] = []
        self._checkpoints: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, lease: int) -> bool:
        return lease in self._leases

    def add(
        self, lease: int, seconds: int, now: float, *, remaining_seconds: int = 0, extra_seconds: float = 0
    ) -> None:
        """A lease has been granted, or was found in the data. ``remaining_seconds`` is what the log says it has left
        (0: all of it); ``extra_seconds`` is time that its client may have been promised beyond that.
        """
        left = (remaining_seconds or seconds) + extra_seconds
        clocked = _Clocked(seconds, now + left, now + CHECKPOINT_SECONDS, checkpointed=remaining_seconds > 0)
        self._leases[lease] = clocked
        self._plan(lease, clocked)

    def remove(self, lease: int) -> None:
        """The lease is gone."""
        self._leases.pop(lease, None)
        if len(self._ends) > 2 * len(self._leases) + _STALE_ITEMS:
            self._ends.clear()
            self._checkpoints.clear()
            for each, clocked in self._leases.items():
                if not clocked.revoking:
                    self._plan(each, clocked)

    def renew(self, lease: int, now: float) -> int:
        """Returns for how many seconds the lease lives from now on; 0 when there is none, or its time is over."""
        clocked = self._leases.get(lease)
        if clocked is None or clocked.over:
            return 0
        clocked.ends_at = max(clocked.ends_at, now + clocked.seconds)
        clocked.checkpoint_at = now + CHECKPOINT_SECONDS
        return clocked.seconds

    def is_checkpointed(self, lease: int) -> bool:
        """Returns whether a renewal must be written to the log before it may be answered."""
        clocked = self._leases.get(lease)
        return clocked is not None and clocked.checkpointed

    def whole_again(self, lease: int) -> None:
        """The log says that the lease has all of its time."""
        clocked = self._leases.get(lease)
        if clocked is not None:
            clocked.checkpointed = False

    def time_left(self, lease: int, now: float) -> tuple[float, int] | None:
        """Returns the seconds that a lease has left, and those it was granted; None when there is no such lease."""
        clocked = self._leases.get(lease)
        if clocked is None:
            return None
        left = 0.0 if clocked.over else max(0.0, clocked.ends_at - now)
        return min(left, clocked.seconds), clocked.seconds

    def by_end(self) -> list[int]:
        """Returns all leases, in the order in which they end."""
        return sorted(self._leases, key=lambda lease: self._leases[lease].ends_at)

    def take_expired(self, now: float, limit: int) -> list[int]:
        """Returns leases whose time is over, at most ``limit``, to be revoked; nobody can renew them any more."""
        expired = []
        for lease, clocked in self._due(self._ends, now, limit):
            if clocked.ends_at > now:
                heapq.heappush(self._ends, (clocked.ends_at, lease))
            elif not clocked.revoking:
                clocked.over = clocked.revoking = True
                expired.append(lease)
                if len(expired) == limit:
                    break
        return expired

    def revoke_again(self, lease: int, at: float) -> None:
        """The lease is not known to be revoked: it is handed out again at that time. Nobody renews it meanwhile."""
        clocked = self._leases.get(lease)
        if clocked is not None and clocked.revoking:
            clocked.revoking = False
            clocked.ends_at = at
            heapq.heappush(self._ends, (at, lease))

    def any_due(self, now: float) -> bool:
        """Returns whether :meth:`take_expired` has something to look at."""
        return bool(self._ends) and self._ends[0][0] <= now

    def take_checkpoints(self, now: float, limit: int) -> list[tuple[int, int]]:
        """Returns leases whose remaining seconds are to be written to the log, with those, at most ``limit``."""
        checkpoints = []
        for lease, clocked in self._due(self._checkpoints, now, limit):
            if clocked.checkpoint_at > now:
                heapq.heappush(self._checkpoints, (clocked.checkpoint_at, lease))
                continue
            remaining = math.ceil(clocked.ends_at - now)
            if remaining <= 0 or clocked.over:
                continue
            if remaining < clocked.seconds:
                clocked.checkpointed = True
                checkpoints.append((lease, remaining))
            clocked.checkpoint_at = now + CHECKPOINT_SECONDS
            heapq.heappush(self._checkpoints, (clocked.checkpoint_at, lease))
            if len(checkpoints) == limit:
                break
        return checkpoints

    def _plan(self, lease: int, clocked: _Clocked) -> None:
        heapq.heappush(self._ends, (clocked.ends_at, lease))
        if clocked.seconds > CHECKPOINT_SECONDS:
            heapq.heappush(self._checkpoints, (clocked.checkpoint_at, lease))

    def _due(self, items: list[tuple[float, int]], now: float, limit: int) -> Iterator[tuple[int, _Clocked]]:
        """Takes the items whose time has come, as many as may be looked at in one go."""
        for _ in range(_LOOKS_PER_RESULT * limit):
            if not items or items[0][0] > now:
                return
            lease = heapq.heappop(items)[1]
            clocked = self._leases.get(lease)
            if clocked is not None:
                yield lease, clocked
