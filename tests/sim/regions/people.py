"""What people ask for at the wrong moment: by annotations, by edits of the spec, by restoring the object."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from sim.fault_rows import Kinds
from sim.regions.ledger import Ledger
from sim.regions.shape import MOST_REGIONS, MOST_REPLICAS
from sim.regions.stage import Stage, both_ways

LEASES = ("1s", "2s", "3s")


class Requests:
    """By annotations; see :class:`sim.regions.faults.RegionFaults`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rng = stage.rng
        self.kinds: Kinds = [(5, self._ask_for_something), (1, self._pause)]

    def heed(self) -> None:
        """What the store says that it needs: where the policy is Manual, a region is rolled once it is no longer
        primary.
        """
        kube = self._stage.kube
        wanted = [region["name"] for region in kube.spec["regions"]]
        asked = "replicatedstore.io/failover-to" in kube.annotations
        stays = any(item["reason"] == "PrimaryStays" for item in kube.status.get("conditions", ()))
        if stays and self._stage.primary() in wanted and not kube.status.get("failover") and not asked:
            self._stage.ask(failover_to=next(name for name in wanted if name != self._stage.primary()))

    async def _ask_for_something(self) -> None:
        stage, regions = self._stage, self._stage.regions
        region = self._rng.choice([*regions, *regions, *regions, "nowhere"])
        draw = self._rng.random()
        if draw < 0.45:
            stage.ask(failover_to=region)
        elif draw < 0.60:
            stage.ask(failover_to=region, failover_mode="forced")
        elif draw < 0.70:
            epoch = stage.kube.status.get("epoch", 1)
            stage.ask(failover_to=region, failover_mode="forced", accept_data_loss=str(epoch))
        elif draw < 0.80:
            stage.ask(abort_failover="true")
        elif draw < 0.90:
            stage.ask(failover_to=region)
            await asyncio.sleep(self._rng.uniform(0.0, 0.5))
            stage.ask(abort_failover="true")
        else:
            stage.ask(failover_dry_run=region)
        await asyncio.sleep(self._rng.uniform(0.0, 2.0))

    async def _pause(self) -> None:
        self._stage.trace.fault("paused")
        self._stage.kube.annotate(paused="true")
        await asyncio.sleep(self._stage.while_seconds())
        self._stage.kube.annotate(paused=None)
        self._stage.trace.fault("not paused any more")


class Edits:
    """Of the spec: replicas, regions, the lease; alone, or while the primary is cut off and operators die."""

    def __init__(self, stage: Stage, ledger: Ledger, kill_operator: Callable[[], Any]) -> None:
        self._stage = stage
        self._rng = stage.rng
        self._ledger = ledger
        self._kill_operator = kill_operator
        self.kinds: Kinds = [
            (4, self._scale_region),
            (5, self._add_region),
            (5, self._remove_region),
            (2, self._change_lease),
            (4, self._edit_while_cut),
        ]

    async def _scale_region(self) -> None:
        spec = self._spec()
        region = self._rng.choice(spec["regions"])
        before = region["replicas"]
        region["replicas"] = self._rng.choice([count for count in range(1, MOST_REPLICAS + 1) if count != before])
        await self._edit(spec, f"{region['name']} is to have {region['replicas']} replicas, not {before}")

    async def _add_region(self) -> None:
        spec = self._spec()
        self._with_region(spec)
        await self._edit(spec, self._names(spec))

    async def _remove_region(self) -> None:
        spec = self._spec()
        self._without_region(spec)
        await self._edit(spec, self._names(spec))

    async def _change_lease(self) -> None:
        spec = self._spec()
        before = spec["failover"]["leaseDuration"]
        spec["failover"]["leaseDuration"] = self._rng.choice([lease for lease in LEASES if lease != before])
        await self._edit(spec, f"leases of {spec['failover']['leaseDuration']}, not {before}")

    async def _edit_while_cut(self) -> None:
        """Regions come and go, perhaps twice, while the primary does not hear of it and operators are new ones."""
        stage, rng = self._stage, self._rng
        region = stage.primary()
        away = both_ways({region}, stage.operator_sites)
        lines = both_ways({region}, set(stage.regions) - {region}) if rng.random() < 0.6 else set()
        changes = rng.choice([(self._with_region,), (self._without_region,), (self._without_region, self._with_region)])
        first = rng.random() < 0.5
        for number, change in enumerate(changes):
            spec = self._spec()
            change(spec)
            if number == len(changes) - 1 and not first:
                self._cut(away | lines)
            await self._edit(spec, self._names(spec))
            if first and number == 0:
                self._cut(away | lines)
        for operator in stage.operators:
            if rng.random() < 0.7:
                operator.crash()
        await asyncio.sleep(rng.choice([0.1, 1.0]))
        for operator in stage.operators:
            operator.start()
        await asyncio.sleep(rng.uniform(1.0, 10.0))
        stage.trace.fault("heal what was cut for the edit")
        stage.wires.heal(away | lines)

    def _cut(self, pairs: set[tuple[str, str]]) -> None:
        self._stage.trace.fault(f"cut {sorted(pairs)}")
        self._stage.wires.cut(pairs)

    def _spec(self) -> dict[str, Any]:
        return copy.deepcopy(self._stage.kube.spec)

    def _names(self, spec: dict[str, Any]) -> str:
        return f"regions are to be {[region['name'] for region in spec['regions']]}"

    def _with_region(self, spec: dict[str, Any]) -> None:
        known = {region["name"] for region in spec["regions"]}
        new = [name for name in self._stage.fleet.machines if name not in known | self._stage.fleet.gone]
        if new and len(known) < MOST_REGIONS:
            spec["regions"].append({"name": self._rng.choice(new), "replicas": 1, "priority": 10})

    def _without_region(self, spec: dict[str, Any]) -> None:
        regions = spec["regions"]
        if len(regions) < 2 or self._stage.fleet.gone or not self._stage.kube.status.get("primaryRegion"):
            return  # made again: what the spec does not name then is not started, the primary that was neither
        primary = self._stage.primary()
        others = [region for region in regions if region["name"] != primary]
        gone = self._rng.choice(others) if self._rng.random() < 0.8 else self._rng.choice(regions)
        remove_regions(spec, {gone["name"]}, self._ledger)

    async def _edit(self, spec: dict[str, Any], what: str) -> None:
        self._stage.trace.fault(what)
        self._stage.kube.edit(spec)
        if self._rng.random() < 0.3:
            await self._kill_operator()
        await asyncio.sleep(self._rng.choice([0.0, 0.3, 1.0, 4.0]) * self._rng.uniform(0.5, 1.5))


def remove_regions(spec: dict[str, Any], gone: set[str], ledger: Ledger) -> None:
    """Takes regions out of the spec; what they alone have may go with them."""
    regions, replication = spec["regions"], spec["replication"]
    regions[:] = [region for region in regions if region["name"] not in gone]
    ledger.fleet.left |= gone
    if spec["primaryRegion"] in gone:
        spec["primaryRegion"] = regions[0]["name"]
    if replication.get("minInSyncRegions", 0) >= len(regions):
        if len(regions) > 1:
            replication["minInSyncRegions"] = len(regions) - 1
        else:
            for name in ("mode", "minInSyncRegions", "semiSyncTimeout", "onTimeout"):
                replication.pop(name, None)
        ledger.needed_regions = min(ledger.needed_regions, len(regions) - 1)


class Restores:
    """The object's status is lost, or is an older one again, or the object is made anew over volumes that were kept."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rng = stage.rng
        self.kinds: Kinds = [(1, self._lose_status), (1, self._restore_status), (1, self._create_again)]

    async def _lose_status(self) -> None:
        self._stage.trace.fault("the status is lost")
        self._stage.kube.restore_status({})
        await self._and_operators()

    async def _restore_status(self) -> None:
        """As it was some seconds before."""
        kept = copy.deepcopy(self._stage.kube.status)
        await asyncio.sleep(self._rng.uniform(0.3, 6.0))
        self._stage.trace.fault(f"the status is restored, with epoch {kept.get('epoch')}")
        self._stage.kube.restore_status(kept)
        await self._and_operators()

    async def _create_again(self) -> None:
        """Not while regions or replicas come or go: what the spec does not name is not started again, and as many
        replicas as it says must be able to elect a leader.
        """
        spec, fleet = self._stage.kube.spec, self._stage.fleet
        changing = {region["name"] for region in spec["regions"]} != set(fleet.regions) or any(
            {len(host.voters) for host in fleet.region(region["name"])} != {region["replicas"]}
            for region in spec["regions"]
        )
        if changing or fleet.gone or spec["persistence"]["pvcPolicy"] != "Retain":
            return
        self._stage.trace.fault("the object is deleted and made again")
        self._stage.kube.begin(self._stage.kube.spec)
        await self._and_operators()

    async def _and_operators(self) -> None:
        """Which may be new ones."""
        for operator in self._stage.operators:
            if self._rng.random() < 0.5:
                operator.crash()
        await asyncio.sleep(self._rng.choice([0.05, 1.0]))
        for operator in self._stage.operators:
            operator.start()
        await asyncio.sleep(self._rng.uniform(0.0, 3.0))
