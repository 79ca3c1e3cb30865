"""What was sent to one region and is not acknowledged yet."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class _Sent:
    last_revision: int
    size_bytes: int


class Window:
    """Bounds unacknowledged bytes and batches. One batch may always be on its way, however large."""

    def __init__(self, *, max_bytes: int, max_batches: int) -> None:
        self._max_bytes = max_bytes
        self._max_batches = max_batches
        self._sent: deque[_Sent] = deque()
        self._bytes = 0
        self._progress_at = 0.0

    @property
    def unacked_bytes(self) -> int:
        """Bytes of rows on their way."""
        return self._bytes

    @property
    def unacked_batches(self) -> int:
        """Batches on their way."""
        return len(self._sent)

    @property
    def full(self) -> bool:
        """Whether the next batch must wait for an acknowledgement."""
        return self._bytes >= self._max_bytes or len(self._sent) >= self._max_batches

    def sent(self, last_revision: int, size_bytes: int, now: float) -> None:
        """A batch that ends at ``last_revision`` is on its way."""
        if not self._sent:
            self._progress_at = now
        self._sent.append(_Sent(last_revision, size_bytes))
        self._bytes += size_bytes

    def acked(self, revision: int, now: float) -> None:
        """The other side committed everything up to ``revision``."""
        while self._sent and self._sent[0].last_revision <= revision:
            self._bytes -= self._sent.popleft().size_bytes
            self._progress_at = now

    def stalled(self, now: float, stall_seconds: float) -> bool:
        """Returns whether batches are on their way and none was acknowledged for ``stall_seconds``."""
        return bool(self._sent) and now - self._progress_at >= stall_seconds
