"""What stands behind StatefulSets: as many pods as they want, each made anew when it is deleted (OnDelete)."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rstore_api.domain.kubernetes import CONFIG_HASH, REGION_LABEL
from rstore_api.domain.names import claim_of
from rstore_replica.config import parse_config
from sim.regions.wires import WORLD

if TYPE_CHECKING:
    from sim.regions.fleet import Fleet
    from sim.regions.host import Host
    from sim.world import World

Body = dict[str, Any]
START_SECONDS = 0.05
LOOK_AGAIN_SECONDS = 0.25


@dataclass
class Pod:
    """Of one machine: the template that it was made from, and whether it is on its way out."""

    uid: str
    revision: str
    ending: bool = False


def revision_of(stateful_set: Body) -> str:
    """The revision of its template."""
    revision: str = stateful_set["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH]
    return revision


class Pods:
    """The StatefulSet controller and the kubelets of all regions."""

    def __init__(self, fleet: Fleet, world: World) -> None:
        self._fleet = fleet
        self._trace = world.trace
        self._loop = asyncio.get_running_loop()
        self._sets: dict[str, Body] = {}
        self._pods: dict[str, Pod] = {}
        self._claims: dict[str, Body] = {}
        """By machine, that of its volume."""
        self._made = 0
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
                self._claims.pop(host.name, None)

    def claims(self) -> list[Body]:
        """The claims of all volumes that were not deleted."""
        return list(self._claims.values())

    def lose_volumes(self, region: str) -> None:
        """Its claims are deleted, once its pods are gone."""
        for host in self._fleet.machines[region]:
            if not host.wanted and self._claims.pop(host.name, None) is not None:
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
        count, revision = stateful_set["spec"]["replicas"], revision_of(stateful_set)
        machines = self._fleet.machines[region]
        for host in machines[:count]:
            if not host.wanted:
                self._make(host, revision)
                host.wanted = True
                self.counts["pods_made"] += 1
                self._loop.call_later(START_SECONDS, self._start, host, context=WORLD)
        for host in machines[count:]:
            if host.wanted:
                self._end(host)
                self.counts["pods_ended"] += 1
        return all(host.ready_pod and self._pods[host.name].revision == revision for host in machines[:count])

    def pod(self, host: Host) -> Pod:
        """The pod on that machine, which has one."""
        return self._pods[host.name]

    def delete_pod(self, name: str) -> None:
        """Somebody has deleted the pod: it is stopped, and made anew from the template that its region has then."""
        host = next(host for host in self._fleet.wanted() if host.name == name)
        self._pods[name].ending = True
        self.counts["pods_renewed"] += 1
        self._loop.create_task(self._replace(host), context=WORLD.copy())
        self._work(host.region)

    async def _replace(self, host: Host) -> None:
        self._trace.fault(f"{host.name} is deleted, and made anew")
        pod, running = self._pods[host.name], host.running
        if running:
            await host.stop()
            if host.running and not host.stopping:
                host.crash(power=False)
            await asyncio.sleep(START_SECONDS)
        if host.region in self._sets and self._pods[host.name] is pod:
            self._make(host, revision_of(self._sets[host.region]))
            if running:
                self._start(host)

    def _make(self, host: Host, revision: str) -> None:
        self._made += 1
        self._pods[host.name] = Pod(f"pod-{self._made}", revision)
        (template,) = self._sets[host.region]["spec"]["volumeClaimTemplates"]
        storage = template["spec"]["resources"]["requests"]
        claim = {"metadata": {"name": claim_of(host.name)}, "spec": template["spec"]}
        self._claims.setdefault(host.name, {**claim, "status": {"phase": "Bound", "capacity": storage}})

    def _end(self, host: Host) -> None:
        host.wanted = False
        host.crash(power=False)

    def _start(self, host: Host) -> None:
        if host.wanted and not host.running:
            host.start()
