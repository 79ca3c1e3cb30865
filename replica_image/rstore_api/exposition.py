"""The text of a Prometheus scrape, made in a thread, and once for all scrapes of the same second."""

from __future__ import annotations

import asyncio
from typing import Protocol

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RENDER_SECONDS = 1.0
"""How old the text of a scrape may be: it takes some milliseconds of CPU time to make."""


class Exposed(Protocol):
    """The metrics of a process."""

    def take_reading(self) -> None:
        """Has the gauges show the process as it is now. Called on the event loop."""

    def render(self) -> bytes:
        """Returns the exposition text. Callable from any thread."""


class Exposition:
    """The text of a scrape: a caller costs the event loop next to nothing, however often it asks."""

    def __init__(self, metrics: Exposed) -> None:
        self._metrics = metrics
        self._text = b""
        self._begun_at: float | None = None
        self._making: asyncio.Task[None] | None = None

    async def text(self) -> bytes:
        """Returns the exposition text, at most :data:`RENDER_SECONDS` old."""
        now = asyncio.get_running_loop().time()
        if self._making is None and (self._begun_at is None or now - self._begun_at >= RENDER_SECONDS):
            self._begun_at = now
            self._making = asyncio.create_task(self._make())
        if self._making is not None:
            await asyncio.shield(self._making)
        return self._text

    async def _make(self) -> None:
        try:
            self._metrics.take_reading()
            self._text = await asyncio.to_thread(self._metrics.render)
        finally:
            self._making = None
