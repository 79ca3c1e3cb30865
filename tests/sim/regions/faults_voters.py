"""What goes wrong while the voters of the primary's tenure change."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from sim.fault_rows import Kinds
from sim.regions.ledger import Ledger
from sim.regions.people import remove_regions
from sim.regions.stage import Stage, both_ways

LOOK_SECONDS = 0.02
APPLY_SECONDS = 15.0
OBSERVE_SECONDS = 1.0


class VoterFaults:
    """Kinds of faults; see :class:`sim.regions.faults.RegionFaults`."""

    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        self._stage = stage
        self._ledger = ledger
        self._rng = stage.rng
        self._under_way = False
        self.kinds: Kinds = [(1, self._change_voters_amid_cut)]

    async def _change_voters_amid_cut(self) -> None:
        """The primary reaches a bare majority of the voters, and so many regions come, or go, that it is a minority of
        the new ones. As soon as operators have seen that the primary has the new topology, it is cut off with the
        voters that it reaches, and somebody forces a failover.
        """
        stage, rng = self._stage, self._rng
        primary, spec = stage.primary(), copy.deepcopy(stage.kube.spec)
        regions = {region["name"] for region in spec["regions"]}
        if (
            self._under_way
            or stage.fleet.gone
            or primary not in regions
            or len(regions) < 2
            or stage.kube.status.get("failover")
        ):
            return
        self._under_way = True
        # Where there are two regions, operators are the second voter of the majority.
        kept = {primary, *rng.sample(sorted(regions - {primary}), (len(regions) - 1) // 2)}
        before = copy.deepcopy(spec)
        self._change(spec, kept)
        if spec == before:
            self._under_way = False
            return
        wanted = {region["name"] for region in spec["regions"]}
        lines = both_ways({primary}, set(stage.fleet.machines) - kept)
        away = both_ways(kept, wanted - kept | stage.operator_sites)
        try:
            stage.trace.fault(f"cut {primary} from all regions but {sorted(kept)}")
            stage.wires.cut(lines)
            await asyncio.sleep(float(spec["failover"]["leaseDuration"].removesuffix("s")) * rng.uniform(1.0, 1.2))
            if stage.kube.spec != before:
                return
            stage.trace.fault(f"regions are to be {sorted(wanted)}")
            stage.kube.edit(spec)
            if not await self._applied(primary, wanted):
                return
            stage.trace.fault(f"cut {sorted(kept)} from the others and the operators")
            stage.wires.cut(away)
            epoch = str(stage.kube.status.get("epoch", 1))
            self._forget()
            target = rng.choice(sorted(wanted & regions - kept))
            stage.ask(failover_to=target, failover_mode="forced", accept_data_loss=epoch)
            await asyncio.sleep(rng.uniform(4.0, 8.0))
        finally:
            stage.trace.fault("heal what was cut for the change of voters")
            stage.wires.heal(lines | away)
            self._under_way = False

    def _change(self, spec: dict[str, Any], kept: set[str]) -> None:
        """Some regions come, or those go that are kept with the primary."""
        regions = spec["regions"]
        names = {region["name"] for region in regions}
        fresh = [name for name in self._stage.fleet.machines if name not in names][: 1 if len(names) == 2 else 2]
        if len(names) < 3 or (len(fresh) == 2 and self._rng.random() < 0.3):
            regions += [{"name": name, "replicas": 1, "priority": 10} for name in fresh]
            return
        primary = self._stage.primary()
        remove_regions(spec, kept - {primary}, self._ledger)

    async def _applied(self, primary: str, wanted: set[str]) -> bool:
        """Waits until the primary's leader has a topology of these regions, and until operators count on no other, but
        not for long.
        """
        stage = self._stage
        for _ in range(round(APPLY_SECONDS / LOOK_SECONDS)):
            await asyncio.sleep(LOOK_SECONDS)
            for host in stage.fleet.region(primary):
                topology = host.replica.machine.state.topology if host.leads and host.replica is not None else None
                if topology is not None and set(topology.region_names) == wanted:
                    for _ in range(round(OBSERVE_SECONDS / LOOK_SECONDS)):
                        if len(stage.kube.status.get("toldRegions", ())) == 1:
                            break
                        await asyncio.sleep(LOOK_SECONDS)
                    return True
        return False

    def _forget(self) -> None:
        """Operators are new ones, which may know as little as the status does."""
        for operator in self._stage.operators:
            operator.crash()
        if self._rng.random() < 0.2:
            self._stage.trace.fault("the status is lost")
            self._stage.kube.restore_status({})
        for operator in self._stage.operators:
            operator.start()
