"""What stands behind StatefulSets: as many pods as they want, made anew one by one where their template has changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from rstore_api.domain.kubernetes import CONFIG_HASH, REGION_LABEL
from rstore_replica.config import parse_config
from sim.regions.wires import WORLD

if TYPE_CHECKING:
    from sim.regions.fleet import Fleet
    from sim.regions.host import Host
    from sim.world import World

Body = dict[str, Any]
START_SECONDS = 0.05
LOOK_AGAIN_SECONDS = 0.25


class Pods:
    """The StatefulSet controller and the kubelets of all regions."""

    def __init__(self, fleet: Fleet, world: World) -> None:
        self._fleet = fleet
        self._trace = world.trace
        self._loop = asyncio.get_running_loop()
        self._sets: dict[str, Body] = {}
        self._templates: dict[str, str] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self.counts: Counter[str] = Counter()
        """What has come of it."""

    def configure(self, config_map: Body) -> None:
        """What a process of this region reads when it starts."""
        config = parse_config(config_map["data"]["replica.json"].encode())
        for host in self._fleet.machines[config_map["metadata"]["labels"][REGION_LABEL]]:
            host.config = config

    def apply(self, stateful_set: Body) -> None:
        """It is new, or has changed."""
        region = stateful_set["metadata"]["labels"][REGION_LABEL]
        self.counts["regions_made"] += region not in self._sets
        self._sets[region] = stateful_set
        self._work(region)

    def delete(self, region: str) -> None:
        """It is gone, and its pods with it; volumes are kept or not as it said."""
        stateful_set = self._sets.pop(region, None)
        if stateful_set is None:
            return
        self.counts["regions_ended"] += 1
        retention = stateful_set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"]
        for host in self._fleet.machines[region]:
            self._end(host)
            if retention == "Delete":
                host.empty()

    @property
    def settled(self) -> bool:
        """Whether every StatefulSet has what it wants."""
        return not self._working

    def _work(self, region: str) -> None:
        if region not in self._working:
            self._working[region] = self._loop.create_task(self._reconcile(region), context=WORLD.copy())

    async def _reconcile(self, region: str) -> None:
        try:
            while region in self._sets:
                if self._step(region, self._sets[region]):
                    break
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        finally:
            del self._working[region]

    def _step(self, region: str, stateful_set: Body) -> bool:
        """Whether nothing is left to do."""
        count = stateful_set["spec"]["replicas"]
        template = stateful_set["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH]
        machines = self._fleet.machines[region]
        for host in machines[:count]:
            if not host.wanted:
                self._templates[host.name] = template
                host.wanted = True
                self.counts["pods_made"] += 1
                self._loop.call_later(START_SECONDS, self._start, host, context=WORLD)
        for host in machines[count:]:
            if host.wanted:
                self._end(host)
                self.counts["pods_ended"] += 1
        return self._roll(machines[:count], template)

    def _roll(self, hosts: list[Host], template: str) -> bool:
        """One pod at a time, from the last one on, each when the one before is ready."""
        for host in reversed(hosts):
            if self._templates[host.name] != template:
                self._templates[host.name] = template
                self.counts["pods_renewed"] += 1
                self._loop.create_task(self._restart(host), context=WORLD.copy())
                return False
            if not host.ready_pod:
                return False
        return True

    async def _restart(self, host: Host) -> None:
        self._trace.fault(f"{host.name} is made anew, its template has changed")
        if host.running:
            await host.stop()
            if host.running and not host.stopping:
                host.crash(power=False)
            await asyncio.sleep(START_SECONDS)
            self._start(host)

    def _end(self, host: Host) -> None:
        host.wanted = False
        host.crash(power=False)

    def _start(self, host: Host) -> None:
        if host.wanted and not host.running:
            host.start()
