"""The time of day, by which tokens expire: regions have no other time in common. Nothing else is decided by it."""

from __future__ import annotations

import time


def time_of_day() -> float:
    """Returns the seconds since 1970."""
    return time.time()
