"""What goes wrong with the region that a switchover goes to, once writers wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rstore_operator.resource.units import parse_duration_ms
from sim.fault_rows import Kinds, only_kinds
from sim.regions.stage import Stage

SEEN_SECONDS = 2.0
"""A leader counts as silent once it has left two questions unanswered, which takes about this long."""
SLACK_SECONDS = 2.0
"""Calls, elections and looks of operators beside the waits that a failover consists of."""
LONGEST_SECONDS = 20.0


class SwitchoverFaults:
    """Kinds of faults; see :class:`sim.regions.faults.RegionFaults`."""

    def __init__(self, stage: Stage, violated: Callable[[str], None]) -> None:
        self._stage = stage
        self._rng = stage.rng
        self._violated = violated
        self._freezing = False
        """One region at a time: without two of three, nobody could write."""
        self.kinds: Kinds = [(2, self._freeze_target)]

    async def _freeze_target(self) -> None:
        """The processes of the target get no time to run from just before the old primary is asked to stop, or from
        just after. Where nothing else goes wrong, writers wait for that no longer than for a failover.
        """
        others = sorted(set(self._stage.regions) - {self._stage.primary()})
        if others and not (self._freezing or self._stage.kube.status.get("failover")):
            self._freezing = True
            try:
                await self._freeze_one(self._rng.choice(others))
            finally:
                self._freezing = False

    async def _freeze_one(self, target: str) -> None:
        stage, rng = self._stage, self._rng
        before = rng.random() < 0.5
        if before:
            self._freeze(target)
            await asyncio.sleep(rng.uniform(0.0, 0.5))
        stage.ask(failover_to=target)
        begun = await self._until(lambda: bool(stage.kube.status.get("failover")), 2.0)
        if begun and not before:
            await asyncio.sleep(rng.choice([0.0, 0.01, 0.05]))
            self._freeze(target)
        await self._until(lambda: not self._serves(), 1.0)
        bound = self._failover_seconds()
        served = await self._until(self._serves, bound)
        manual = stage.kube.spec["failover"]["policy"] == "Manual"
        if not served and only_kinds() == ("freeze_target",) and not (manual and self._is_promoting()):
            intent = stage.kube.status.get("failover")
            self._violated(f"I5: nobody writes for {bound:.1f} s, since {target} does not run: {intent}")
        await self._until(lambda: not self._is_frozen(target), LONGEST_SECONDS)

    def _is_frozen(self, region: str) -> bool:
        hosts = self._stage.fleet.region(region)
        return any(host.process is not None and host.process.stopped is not None for host in hosts)

    def _freeze(self, region: str) -> None:
        seconds = self._rng.uniform(LONGEST_SECONDS / 2, LONGEST_SECONDS)
        self._stage.trace.fault(f"{region} does not run for {seconds:.1f} s")
        for host in self._stage.fleet.region(region):
            if host.process is not None:
                host.process.pause(seconds)

    def _failover_seconds(self) -> float:
        """How long writers may wait for a failover."""
        failover = self._stage.kube.spec["failover"]
        delay_seconds, tenure_seconds = (
            parse_duration_ms(failover[name]) / 1000 for name in ("failoverDelay", "leaseDuration")
        )
        return SEEN_SECONDS + delay_seconds + 1.1 * tenure_seconds + SLACK_SECONDS

    def _is_promoting(self) -> bool:
        return (self._stage.kube.status.get("failover") or {}).get("step") == "Promoting"

    def _serves(self) -> bool:
        """Whether a leader acknowledges writes."""
        for host in self._stage.fleet.all_hosts():
            if host.leads and host.replica is not None and host.process is not None and host.process.stopped is None:
                state = host.replica.machine.state
                if state.writable and host.replica.replication.tenure.held(state.epoch):
                    return True
        return False

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether the condition came true within ``seconds``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not condition():
            if loop.time() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True
