"""The time of day for the record: a change of primary takes as long as it takes, whatever clocks are set to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta


class TimeOfDay:
    """Now: the machine's clock as it was when it was last looked at, and what the monotonic clock has counted since.

    It is not looked at while a change of primary is under way. The steps have times of day on record, and what has
    passed between them counts: the timeout of a switchover, and the write gap that is told.
    """

    def __init__(self, wall: Callable[[], datetime], clock: Callable[[], float]) -> None:
        """``clock`` gives monotonic seconds."""
        self._wall = wall
        self._clock = clock
        self._base = (wall(), clock())

    def look(self) -> None:
        """What the machine's clock says counts from now on."""
        self._base = (self._wall(), self._clock())

    def __call__(self) -> datetime:
        """Now."""
        moment, seconds = self._base
        return moment + timedelta(seconds=self._clock() - seconds)
