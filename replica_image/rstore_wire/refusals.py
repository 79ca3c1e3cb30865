"""What was refused and why: counted each time, logged at a bounded rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog

_log = structlog.get_logger(part="wire")

LOG_SECONDS = 1.0
"""Between two lines of one reason."""


class Refusals:
    """The refusals of one server."""

    def __init__(self, clock: Callable[[], float], on_refusal: Callable[[str], object]) -> None:
        """``clock`` gives seconds; ``on_refusal`` is called with the reason of each refusal."""
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._on_refusal = on_refusal
        self._logged: dict[str, tuple[float, int]] = {}

    def add(self, reason: str, **facts: object) -> None:
        """Counts a refusal, and logs it with its facts unless the same reason was logged less than a second ago."""
        self.counts[reason] += 1
        self._on_refusal(reason)
        now, count = self._clock(), self.counts[reason]
        at, logged = self._logged.get(reason, (now - LOG_SECONDS, 0))
        if now - at >= LOG_SECONDS:
            self._logged[reason] = (now, count)
            _log.info("refused", reason=reason, since_last_line=count - logged, **facts)
