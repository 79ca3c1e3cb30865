"""Regions are gone for good with all their volumes, and people forget them by the runbook; or too early, while they
run.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from rstore_operator.facts.lacks import set_key
from sim.fault_rows import Kinds
from sim.regions.ledger import Ledger
from sim.regions.people import remove_regions
from sim.regions.sites import STORE
from sim.regions.stage import Stage, both_ways

LOOK_SECONDS = 0.25
LOOKS = 120


class GoneFaults:
    """Kinds of faults; see :class:`sim.regions.faults.RegionFaults`."""

    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        self._stage = stage
        self._ledger = ledger
        self._rng = stage.rng
        self.forgotten = 0
        self.kinds: Kinds = [(1, self._forget_regions), (1, self._forget_too_early)]

    async def _forget_regions(self) -> None:
        """Some regions and their volumes are lost at one moment, most often the primary and a majority. A region with
        a copy stays. People take the lost ones out of the spec, and delete what is left of them.
        """
        stage, gone = self._stage, self._some_to_go()
        if not gone:
            return
        stage.fleet.gone |= gone
        stage.trace.fault(f"{sorted(gone)} are gone for good")
        for host in stage.fleet.all_hosts():
            if host.region in gone:
                host.crash(power=True)
        await asyncio.sleep(self._rng.choice([0.0, 1.0, 5.0]))
        if not self._take_out(gone):  # somebody has taken out the others meanwhile
            stage.fleet.gone.clear()
            await stage.start([host for name in gone for host in stage.fleet.region(name)])
            return
        for _ in range(LOOKS):
            if not stage.fleet.gone:
                break
            await asyncio.sleep(LOOK_SECONDS)
            self.heed()

    async def _forget_too_early(self) -> None:
        """The operators and the regions that stay do not reach the others, which run and acknowledge. People take them
        out of the spec, and accept a loss, but delete nothing: nobody may take over from a majority.
        """
        stage, gone = self._stage, self._some_to_go()
        if not gone or stage.primary() not in gone:
            return
        lines = both_ways(gone, (set(stage.fleet.machines) - gone) | stage.operator_sites)
        stage.trace.fault(f"cut {sorted(gone)} from the others and the operators")
        stage.wires.cut(lines)
        epoch = str(stage.kube.status.get("epoch", 1))
        if self._take_out(gone):
            stage.ask(accept_data_loss=epoch)
        await asyncio.sleep(self._rng.uniform(6.0, 12.0))
        stage.trace.fault(f"{sorted(gone)} are back")
        stage.wires.heal(lines)

    def heed(self) -> None:
        """What people do until the regions that stay have a primary: they delete what is there of the others, also what
        an operator has made again, and accept the loss once they are asked to. Where the status was lost, and asks for
        the primary region back, they put it into the spec again, without its volumes.
        """
        stage = self._stage
        kube, gone = stage.kube, stage.fleet.gone
        if not gone:
            return
        ready = next((c["message"] for c in kube.status.get("conditions", ()) if c["type"] == "Ready"), "")
        asked_back = {name for name in gone if "to spec.regions again" in ready and name in ready}
        if asked_back and not kube.status.get("primaryRegion"):
            self._put_back(asked_back)
            return
        if gone & {region["name"] for region in kube.spec["regions"]} and not self._take_out(gone):
            gone.clear()  # they were to be taken out when the faults ended, and are all there is
            return
        for name in gone:
            kube.delete_child(*set_key(STORE, name))
            kube.runs.lose_volumes(name)
        status, wanted = kube.status, {region["name"] for region in kube.spec["regions"]}
        told = {name for sent in status.get("toldRegions", ()) for name in sent["regions"]}
        if status.get("primaryRegion") in wanted and not status.get("failover") and not told & gone:
            stage.trace.fault(f"{sorted(gone)} are forgotten")
            gone.clear()
            self.forgotten += 1
            return
        reason = next((c["reason"] for c in status.get("conditions", ()) if c["type"] == "FailoverBlocked"), "")
        epoch = (status.get("failover") or {}).get("fromEpoch") or status.get("epoch", 1)
        asked = {"failover-mode", "accept-data-loss"} & {name.rpartition("/")[2] for name in kube.annotations}
        if reason in ("PolicyManual", "SwitchoverBlocked") and "failover-mode" not in asked:
            target = self._rng.choice(sorted(wanted))
            stage.ask(failover_to=target, failover_mode="forced", accept_data_loss=str(epoch))
        elif reason in ("DataLoss", "FailoverWaits") and "accept-data-loss" not in asked:
            stage.ask(accept_data_loss=str(epoch))

    def _put_back(self, regions: set[str]) -> None:
        spec: dict[str, Any] = copy.deepcopy(self._stage.kube.spec)
        named = {region["name"] for region in spec["regions"]}
        spec["regions"] += [{"name": name, "replicas": 1, "priority": 10} for name in sorted(regions - named)]
        self._stage.fleet.gone -= regions
        self._stage.trace.fault(f"{sorted(regions)} are put into the spec again")
        self._stage.kube.edit(spec)

    def _some_to_go(self) -> set[str]:
        """Regions of the spec; none while others are gone, or where no region that stays has a copy that answers."""
        stage = self._stage
        wanted = [region["name"] for region in stage.kube.spec["regions"]]
        if stage.fleet.gone or len(wanted) < 2 or not stage.kube.status.get("primaryRegion"):
            return set()
        primary, whole = stage.primary(), [name for name in wanted if self._has_a_copy(name)]
        others = [name for name in whole if name != primary]
        if not others:
            return set()
        stays = {self._rng.choice(others)}
        go = set(wanted) - stays
        return go if self._rng.random() < 0.7 else {self._rng.choice(sorted(go))}

    def _has_a_copy(self, region: str) -> bool:
        hosts = self._stage.fleet.region(region)
        return bool(hosts) and all(
            host.ready and host.replica is not None and host.replica.machine.state.epoch > 0 for host in hosts
        )

    def _take_out(self, gone: set[str]) -> bool:
        """Whether a region is left."""
        spec: dict[str, Any] = copy.deepcopy(self._stage.kube.spec)
        left = gone & {region["name"] for region in spec["regions"]}
        if len(left) == len(spec["regions"]):
            return False
        remove_regions(spec, left, self._ledger)
        self._stage.trace.fault(f"regions are to be {[region['name'] for region in spec['regions']]}")
        self._stage.kube.edit(spec)
        return True
