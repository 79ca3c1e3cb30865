"""All volumes of a region go back in time: to different moments, and people bring the region back by the runbook; or to
one moment, and other regions notice.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.fault_rows import Kinds
from sim.regions.ledger import Ledger
from sim.regions.people import remove_regions
from sim.regions.stage import Stage

if TYPE_CHECKING:
    from sim.regions.host import Host

APART_SECONDS = 2.0
"""Between two snapshots: more than the standings of replicas take to be saved."""
NOTICED_SECONDS = 15.0
PATIENCE_SECONDS = 60.0


class RegionVolumeFaults:
    """Kinds of faults; see :class:`sim.regions.faults.RegionFaults`."""

    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        self._stage = stage
        self._ledger = ledger
        self._done = False
        self.formed_anew = self.went_on = self.at_once = 0
        self.kinds: Kinds = [(1, self._rolled_back_region), (1, self._rolled_back_at_once)]

    async def _rolled_back_region(self) -> None:
        """Once in a run. The region elects no leader then, but where nothing was promised after the second snapshot."""
        stage, rng = self._stage, self._stage.rng
        large = [region for region in stage.regions if len(stage.fleet.region(region)) >= 3]
        if self._done or not large:
            return
        self._done = True
        region = rng.choice(large)
        hosts = stage.fleet.region(region)
        for host in rng.sample(hosts, len(hosts)):
            self._save([host])
            await asyncio.sleep(APART_SECONDS)
        self._roll_back(region, hosts)
        await asyncio.sleep(NOTICED_SECONDS)
        if any(host.leads for host in hosts):
            self.went_on += 1
        else:
            await self._form_anew(region, hosts)

    async def _rolled_back_at_once(self) -> None:
        """All volumes of the primary go back to one moment, which nobody in the region notices. Other regions do, where
        they have more; one of them takes over then.
        """
        stage = self._stage
        region = stage.primary()
        hosts = stage.fleet.region(region)
        if self._done or not all(host.ready for host in hosts) or stage.kube.status.get("failover"):
            return
        self._done = True
        self._save(hosts)
        await asyncio.sleep(stage.rng.uniform(4.0, 6.0))
        if stage.primary() != region or not all(host.ready for host in hosts):
            return
        self._roll_back(region, hosts)
        self._ledger.fleet.left.add(region)
        self.at_once += 1
        await asyncio.sleep(NOTICED_SECONDS)
        if stage.primary() == region and not stage.kube.status.get("failover"):
            # In SemiSync nobody knows any more what the region had acknowledged, so the loss gate asks for a person.
            target = next(name for name in stage.regions if name != region)
            epoch = str(stage.kube.status.get("epoch", 1))
            stage.ask(failover_to=target, failover_mode="forced", accept_data_loss=epoch)
            await self._until(lambda: stage.primary() != region, f"no region takes over from {region}")

    def _save(self, hosts: list[Host]) -> None:
        for host in hosts:
            host.crash(power=True)
            host.save_volume()
            host.start()

    def _roll_back(self, region: str, hosts: list[Host]) -> None:
        self._stage.trace.fault(f"{region} is rolled back")
        for host in hosts:
            if host.running:
                host.crash(power=True)
        for host in hosts:
            host.roll_back()
            host.forget_the_log()
        for host in hosts:
            host.start()

    async def _form_anew(self, region: str, hosts: list[Host]) -> None:
        """As docs/runbook.md says."""
        stage = self._stage
        if stage.primary() == region:
            await self._until(lambda: stage.primary() != region, f"no region takes over from {region}")
        without = copy.deepcopy(stage.kube.spec)
        remove_regions(without, {region}, self._ledger)
        back = copy.deepcopy(without)
        back["regions"].append({"name": region, "replicas": len(hosts), "priority": 10})
        stage.trace.fault(f"{region} is taken out of the spec")
        stage.kube.edit(without)
        await self._until(lambda: not stage.fleet.region(region), f"the pods of {region} do not go")
        for host in hosts:
            host.rolled_back = False
            host.empty()
        stage.trace.fault(f"{region} is put into the spec again")
        stage.kube.edit(back)
        await self._until(lambda: any(host.leads for host in stage.fleet.region(region)), f"{region} has no leader")
        self.formed_anew += 1

    async def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        for _ in range(round(PATIENCE_SECONDS / 0.25)):
            if condition():
                return
            await asyncio.sleep(0.25)
        self._ledger.violated(complaint)
