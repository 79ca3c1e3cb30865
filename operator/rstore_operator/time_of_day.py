"""The time of day, which does not jump during a change of primary when somebody sets the machine's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta


class TimeOfDay:
    """Returns the machine's time as it was when :meth:`look` read it last, plus what the monotonic clock has counted
    since.

    It is not read anew while a change of primary is under way. The times of the steps are persisted in `.status`, and
    the differences between them count: for the timeout of a switchover, and in the receipt's write gap.
    """

    def __init__(self, wall: Callable[[], datetime], clock: Callable[[], float]) -> None:
        """``clock`` gives monotonic seconds."""
        self._wall = wall
        self._clock = clock
        self._base = (wall(), clock())

    def look(self) -> None:
        """Read the machine's clock anew."""
        self._base = (self._wall(), self._clock())

    def __call__(self) -> datetime:
        """Returns the present time."""
        moment, seconds = self._base
        return moment + timedelta(seconds=self._clock() - seconds)
