"""Replicas that are asked to stop, so many of the primary region that it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sim.fault_rows import Kinds, only_kinds
from sim.regions.ledger import Ledger
from sim.regions.stage import Stage

if TYPE_CHECKING:
    from sim.regions.host import Host


class EndingFaults:
    """Kinds of faults; see :class:`sim.regions.faults.RegionFaults`."""

    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        self._stage = stage
        self._rng = stage.rng
        self._ledger = ledger
        self._ending = False
        """One at a time: two would get in each other's way."""
        self.kinds: Kinds = [(2, self._end_primary)]

    async def _end_primary(self) -> None:
        """All replicas of the primary region are asked to stop, together or one soon after the other.

        Where the leader says that everything is in another region, that is so; and where nothing else goes wrong and
        another region is connected, it says so.
        """
        if self._ending:
            return
        hosts = [host for host in self._stage.fleet.region(self._stage.primary()) if host.ready and not host.stopping]
        connected = any(self._streams(host) for host in hosts)
        apart_seconds = self._rng.choice([0.0, 0.0, 0.05, 1.0])
        self._ending = True
        try:
            ends = await asyncio.gather(*(self._end(host, number * apart_seconds) for number, host in enumerate(hosts)))
        finally:
            self._ending = False
        if any(ends):
            missing = self._only_in(hosts[0].region)
            if missing:
                self._ledger.violated(
                    f"I4: {hosts[0].region} ended, and only it has {missing}, which were acknowledged"
                )
        elif connected and only_kinds() == ("end_primary",) and not self._stage.kube.status.get("failover"):
            self._ledger.violated(f"{hosts[0].region} did not wait until another region had all that it has")
        await asyncio.sleep(self._stage.while_seconds())
        await self._stage.start(hosts)

    def _streams(self, host: Host) -> bool:
        """Whether it leads the primary, and has a stream to another region."""
        if host.replica is None or not host.replica.machine.state.writable:
            return False
        return any(item.connected for item in host.replica.replication.progress())

    async def _end(self, host: Host, after_seconds: float) -> bool:
        """Whether it came to its end, and everything is in another region as it says; a replica that has received
        nothing cannot say so."""
        await asyncio.sleep(after_seconds)
        has_data = host.replica is not None and host.replica.machine.state.epoch > 0
        decision = await host.stop()
        return decision is not None and decision.safe and has_data

    def _only_in(self, region: str) -> list[int]:
        """What was acknowledged in the newest epoch, and was never committed anywhere else."""
        epoch = max(self._ledger.starts, default=0)
        acked = {item.revision for item in self._ledger.acks if item.changed and item.epoch == epoch}
        return sorted(revision for revision in acked if self._ledger.held_by.get(revision, set()) <= {region})
