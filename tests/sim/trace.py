"""What happened in a run: every event goes into a hash, the last ones and the faults are kept to be read."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque


class Trace:
    """Two runs of a seed are the same if their hashes are."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, keep: int = 60) -> None:
        self._loop = loop
        self._start = loop.time()
        self._hash = hashlib.sha256()
        self.events = 0
        self.recent: deque[str] = deque(maxlen=keep)
        self.faults: list[str] = []

    def time(self) -> float:
        """Seconds on the world's clock."""
        return self._loop.time()

    def add(self, event: str) -> None:
        """Something happened."""
        line = f"{self._loop.time() - self._start:10.6f} {event}"
        self.events += 1
        self._hash.update(line.encode())
        self.recent.append(line)

    def fault(self, event: str) -> None:
        """The world did something to the replicas."""
        self.add(event)
        self.faults.append(self.recent[-1])

    def digest(self) -> str:
        """Of everything so far."""
        return self._hash.hexdigest()
