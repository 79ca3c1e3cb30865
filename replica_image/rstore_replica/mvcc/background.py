"""Work that is done in small steps between applies, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Background:
    """Calls a step again and again, with the pause that it asks for, until nothing is left."""

    def __init__(self, step: Callable[[], float | None]) -> None:
        """``step`` returns the seconds until it wants to go on, None when it has nothing to do."""
        self._step = step
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def wake(self, pause_seconds: float) -> None:
        """There may be something to do. Without a loop to come back on, one step is done at once."""
        if self._timer is not None or self._stopped:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._step()
            return
        self._timer = loop.call_later(pause_seconds, self._run)

    def stop(self) -> None:
        """No step is begun any more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self._timer = None
        pause_seconds = self._step()
        if pause_seconds is not None:
            self.wake(pause_seconds)
