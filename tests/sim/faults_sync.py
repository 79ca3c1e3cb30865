"""Disks that fail to sync, for a moment: what was to be written stays in the page cache, and later syncs succeed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from sim.disk import Volume
from sim.trace import Trace


class Machine(Protocol):
    """A machine with a volume, and a process on it now and then."""

    name: str
    volume: Volume

    def crash(self, *, power: bool) -> None:
        """Ends the process; with ``power`` the machine too."""


H = TypeVar("H", bound=Machine)


class SyncFaults(Generic[H]):
    """Kinds of faults of one region's or of all regions' machines."""

    def __init__(
        self,
        rng: random.Random,
        trace: Trace,
        some: Callable[[], Sequence[H]],
        restart: Callable[[list[H]], Awaitable[None]],
    ) -> None:
        """``some`` draws machines, ``restart`` starts those of them that have no process."""
        self._rng = rng
        self._trace = trace
        self._some = some
        self._restart = restart
        self.kinds: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (2, self._sync_fails),
            (2, self._write_back_fails),
        ]

    async def _sync_fails(self) -> None:
        """Processes end by it and come back; in the end, perhaps, their machines lose power."""
        rng, hosts = self._rng, list(self._some())
        for host in hosts:
            host.volume.failing_syncs = rng.randint(1, 2)
        self._trace.fault(f"syncs fail {[host.name for host in hosts]}")
        await asyncio.sleep(rng.uniform(0.05, 1.0))
        for host in hosts:
            host.volume.failing_syncs = 0
        await self._restart(hosts)
        await self._perhaps_lose_power(hosts)

    async def _write_back_fails(self) -> None:
        """What processes have written and nobody has synced cannot be written once they are killed, or just before."""
        rng, hosts = self._rng, list(self._some())
        self._trace.fault(f"nothing can be written back {[host.name for host in hosts]}")
        perhaps_noticed = rng.random() < 0.3
        for host in hosts:
            if perhaps_noticed:
                host.volume.fail_write_back()
                await asyncio.sleep(rng.uniform(0.0, 0.1))
            host.crash(power=False)
            host.volume.fail_write_back()
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        await self._restart(hosts)
        await self._perhaps_lose_power(hosts)

    async def _perhaps_lose_power(self, hosts: list[H]) -> None:
        if self._rng.random() < 0.6:
            await asyncio.sleep(self._rng.uniform(0.0, 1.5))
            for host in hosts:
                host.crash(power=True)
            await self._restart(hosts)
