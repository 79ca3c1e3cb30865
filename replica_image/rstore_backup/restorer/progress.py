"""What a restorer knows about itself, from which its report is made."""

from __future__ import annotations

import asyncio

from rstore_backup.restore_report import Pinned, RestoreError, RestorePhase, RestoreProblem, RestoreReport

_ORDER = list(RestorePhase)
MAX_TEXT = 1024
"""Characters of an error that are reported."""


class Progress:
    """Changed by the restorer as it goes on; times are milliseconds since 1970."""

    def __init__(self) -> None:
        self.phase = RestorePhase.STARTING
        self.pinned: Pinned | None = None
        self.keys = 0
        self.leases = 0
        self._done = 0
        self._total = 0
        self._error: RestoreError | None = None
        self._failed_in = RestorePhase.STARTING
        self._recorded = asyncio.Event()

    def enter(self, phase: RestorePhase, total: int = 0) -> None:
        """It is in that phase now, of ``total`` steps. An error of an earlier phase is over."""
        self.phase, self._done, self._total = phase, 0, total
        if _ORDER.index(phase) > _ORDER.index(self._failed_in):
            self._error = None

    def advance(self, steps: int) -> None:
        """So many steps more are done."""
        self._done += steps

    def failed(self, problem: RestoreProblem, text: str, now_ms: int) -> None:
        """It has met with an error, and begins anew."""
        before = self._error
        since_ms = before.since_ms if before is not None and before.problem is problem else now_ms
        self._error = RestoreError(problem, text[:MAX_TEXT], now_ms, since_ms)
        self._failed_in = self.phase
        self.phase, self._done, self._total = RestorePhase.STARTING, 0, 0

    def settle(self, pinned: Pinned, *, recorded: bool) -> None:
        """This is the state that is restored; ``recorded``: that is recorded already."""
        self.pinned = pinned
        if recorded:
            self._recorded.set()
        else:
            self._recorded.clear()

    def told(self, recorded: str) -> None:
        """The operator says which state is recorded."""
        if self.pinned is not None and recorded == self.pinned.text:
            self._recorded.set()

    async def until_recorded(self) -> None:
        """Waits until it is recorded which state is restored."""
        await self._recorded.wait()

    def report(self, now_ms: int) -> RestoreReport:
        """Returns the report as of now."""
        return RestoreReport(
            phase=self.phase,
            time_ms=now_ms,
            pinned=self.pinned,
            done=self._done,
            total=self._total,
            keys=self.keys,
            leases=self.leases,
            error=self._error,
        )
