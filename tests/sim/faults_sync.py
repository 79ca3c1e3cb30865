"""Disks that fail to sync, for a moment: what was to be written stays in the page cache, and later syncs succeed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.faults import Faults


class SyncFaults:
    """One more kind of :class:`sim.faults.Faults`."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.kinds: list[tuple[float, Callable[[], Awaitable[None]]]] = [(2, self._sync_fails)]

    async def _sync_fails(self) -> None:
        """Processes end by it and come back; in the end, perhaps, their machines lose power."""
        rng, faults = self._faults.rng, self._faults
        hosts = faults.some()
        for host in hosts:
            host.volume.failing_syncs = rng.randint(1, 2)
        faults.trace.fault(f"syncs fail {[host.name for host in hosts]}")
        await asyncio.sleep(rng.uniform(0.05, 1.0))
        for host in hosts:
            host.volume.failing_syncs = 0
        await faults.restart(hosts)
        if rng.random() < 0.6:
            await asyncio.sleep(rng.uniform(0.0, 1.5))
            for host in hosts:
                host.crash(power=True)
            await faults.restart(hosts)
