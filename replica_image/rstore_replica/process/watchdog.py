"""How late the event loop is: the sign that something blocks it."""

from __future__ import annotations

import asyncio
from collections import deque

from rstore_api.logs import get_logger

from rstore_replica.metrics import Metrics

_log = get_logger(__name__)

INTERVAL_SECONDS = 0.1
WARN_SECONDS = 0.5
WINDOW = 600
"""Measurements that the maximum is taken over: one minute of them."""


class Watchdog:
    """Sets a timer again and again and measures how late it comes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._recent: deque[float] = deque(maxlen=WINDOW)

    async def run(self) -> None:
        """Measure, for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + INTERVAL_SECONDS
            await asyncio.sleep(INTERVAL_SECONDS)
            self.record(max(0.0, clock() - due))

    def record(self, lag_seconds: float) -> None:
        """Take one measurement into the metrics."""
        self._recent.append(lag_seconds)
        self._metrics.loop_lag_seconds.observe(lag_seconds)
        self._metrics.loop_lag_max_seconds.set(max(self._recent))
        if lag_seconds > WARN_SECONDS:
            _log.warning("event_loop_late", seconds=round(lag_seconds, 3))
