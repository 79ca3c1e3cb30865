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
        self._making: asyncio.Task[bytes] | None = None

    async def text(self) -> bytes:
        """Returns the exposition text, at most :data:`RENDER_SECONDS` old."""
        now = asyncio.get_running_loop().time()
        if self._making is None and (self._begun_at is None or now - self._begun_at >= RENDER_SECONDS):
            self._begun_at = now
            self._making = asyncio.create_task(self._make())
        return await asyncio.shield(self._making) if self._making is not None else self._text

    async def _make(self) -> bytes:
        try:
            self._metrics.take_reading()
            text = self._text = await asyncio.to_thread(self._metrics.render)
            asyncio.get_running_loop().call_later(RENDER_SECONDS, self._drop, text)
            return text
        finally:
            self._making = None

    def _drop(self, text: bytes) -> None:
        """A text that is too old to be given out, and may be some MiB, is not kept until the next scrape."""
        if self._text is text:
            self._text = b""
