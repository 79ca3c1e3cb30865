"""How many revisions a second a store makes, from what its status shows at two moments."""

from __future__ import annotations

from typing import Any

QUIET_SECONDS = 12.0
"""After this time without a change nothing is written: the operator writes new revisions at most every 5 s."""


class WriteRate:
    """The status is written every few seconds: the rate is that between its last two changes of revision."""

    def __init__(self) -> None:
        self._seen: tuple[int, int, float] | None = None
        self._rate: float | None = None

    def look(self, status: dict[str, Any], seconds: float) -> float | None:
        """Returns revisions a second, None before it is known; ``seconds`` is a monotonic clock's reading.

        A new epoch begins with a jump of revisions, which is no rate.
        """
        primary = status.get("primaryRegion")
        regions = [region for region in status.get("regions", []) if region.get("name") == primary]
        revision, epoch = next((region.get("revision") for region in regions), None), int(status.get("epoch") or 0)
        if revision is None:
            return self._rate
        if self._seen is None or self._seen[0] != epoch:
            self._seen, self._rate = (epoch, int(revision), seconds), None
        elif int(revision) != self._seen[1] and seconds > self._seen[2]:
            self._rate = max(0.0, (int(revision) - self._seen[1]) / (seconds - self._seen[2]))
            self._seen = (epoch, int(revision), seconds)
        elif seconds - self._seen[2] > QUIET_SECONDS:
            self._rate = 0.0
        return self._rate
