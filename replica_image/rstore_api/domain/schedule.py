"""When something is due that is done at certain times: a cron expression of five fields, in UTC.

The fields are minute, hour, day of the month, month and day of the week, as in crontab(5): numbers or names, ranges,
lists and steps. Names of schedules such as ``@daily``, seconds, and the letters L, W and ``#`` are not taken: other
programs read them differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_LENGTH = 100
"""Of an expression, in characters."""
_STEP = "(/[1-9][0-9]?)?"


def _field(*values: str) -> str:
    """The pattern of a field whose values match one of the patterns ``values``."""
    value = f"({'|'.join(values)})"
    term = rf"(\*|{value}(-{value})?){_STEP}"
    return f"{term}(,{term})*"


PATTERN = " +".join((
    _field("[0-5]?[0-9]"),
    _field("[01]?[0-9]", "2[0-3]"),
    _field("0?[1-9]", "[12][0-9]", "3[01]"),
    _field("0?[1-9]", "1[0-2]", "[A-Za-z]{3}"),
    _field("[0-7]", "[A-Za-z]{3}"),
))  # fmt: skip
"""The pattern of an expression; one that matches may still be refused, for a range that ends before it begins."""


@dataclass(frozen=True)
class Schedule:
    """A schedule; :meth:`parse` makes one that is valid."""

    text: str

    @classmethod
    def parse(cls, text: object) -> Schedule:
        """Returns the schedule of an expression. Raises ValueError if it is not valid, or never due."""
        if not isinstance(text, str) or len(text) > MAX_LENGTH or not re.fullmatch(PATTERN, text):
            raise ValueError(
                f"{text!r} is not a schedule of five fields such as '0 3 * * *' (minute hour day month weekday)"
            )
        schedule = cls(text)
        if next(schedule._times(datetime(2000, 1, 1, tzinfo=UTC)), None) is None:
            raise ValueError(f"{text!r} is a schedule that is never due: there is no such day")
        return schedule

    def after(self, moment: datetime) -> datetime:
        """Returns the first time after ``moment`` at which it is due."""
        return next(self._times(moment.astimezone(UTC)))

    def before(self, moment: datetime) -> datetime:
        """Returns the last time before ``moment`` at which it was due."""
        return next(self._times(moment.astimezone(UTC), reverse=True))

    def _times(self, moment: datetime, *, reverse: bool = False) -> Iterator[datetime]:
        from cronsim import CronSim, CronSimError  # few stores have a schedule

        try:
            times: Iterator[datetime] = CronSim(self.text, moment, reverse=reverse)
        except CronSimError as error:
            raise ValueError(f"{self.text!r} is not a schedule: {str(error)[:1].lower()}{str(error)[1:]}") from error
        return times
