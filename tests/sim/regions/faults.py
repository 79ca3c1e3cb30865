"""What goes wrong between regions, operators and the Kubernetes API, and what people ask for at the wrong moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sim.fault_rows import FaultRows, Kinds, only_kinds
from sim.faults_rollback import RollbackFaults
from sim.faults_sync import SyncFaults
from sim.network import Network
from sim.regions.faults_ending import EndingFaults
from sim.regions.faults_failover import FailoverFaults
from sim.regions.faults_gone import GoneFaults
from sim.regions.faults_lines import LineFaults
from sim.regions.faults_operator import OperatorFaults
from sim.regions.faults_region_volumes import RegionVolumeFaults
from sim.regions.faults_switchover import SwitchoverFaults
from sim.regions.faults_voters import VoterFaults
from sim.regions.host import Host
from sim.regions.ledger import Ledger
from sim.regions.operators import OperatorHost
from sim.regions.people import Edits, Requests, Restores
from sim.regions.shape import Shape
from sim.regions.stage import Stage
from sim.world import World

PAUSE_SECONDS = 1.5


@dataclass(frozen=True)
class _Replicas:
    """Those of one region."""

    machines: list[Host]

    @property
    def network(self) -> Network:
        return self.machines[0].network

    @property
    def settled(self) -> bool:
        names = {host.name for host in self.machines}
        return all(host.ready and host.counts and host.voters == names for host in self.machines)


class RegionFaults:
    """Each fault is a coroutine that makes something go wrong, waits, and undoes it."""

    def __init__(self, stage: Stage, world: World, ledger: Ledger, shape: Shape) -> None:
        self._stage = stage
        self._rng = stage.rng
        self.failovers = FailoverFaults(stage, world)
        self.requests = Requests(stage)
        self._operators = OperatorFaults(stage)
        self.region_volumes = RegionVolumeFaults(stage, ledger)
        self.rollbacks = RollbackFaults(stage.rng, stage.trace, self._some_replicas)
        self._switchovers = SwitchoverFaults(stage, world.violated)
        self.gone = GoneFaults(stage, ledger)
        self.rows = FaultRows(self._kinds(shape, ledger), stage.rng, pause_seconds=PAUSE_SECONDS)

    def _kinds(self, shape: Shape, ledger: Ledger) -> Kinds:
        if shape.amid_failovers:
            return [
                (4, self.failovers.force_while_unseen),
                (2, self.failovers.return_during_failover),
                (1, self._operators.kill_operator_at_a_step),
                (1, self._lose_replica),
                (2, self._stall),
            ]
        edits = [
            *Edits(self._stage, ledger, self._operators.kill_operator_at_a_step).kinds,
            *VoterFaults(self._stage, ledger).kinds,
            *self.gone.kinds,
        ]
        if shape.rolled_back and not only_kinds():
            # Other faults at the same time may take those away that know what was promised.
            return [*self.rollbacks.kinds, *LineFaults(self._stage).kinds, *self.requests.kinds]
        return [
            (3, self._lose_region),
            (2, self._lose_replica),
            (2, self._stop_replica),
            (3, self._stall),
            (2, self._split_region),
            *self.failovers.kinds,
            *self._switchovers.kinds,
            *EndingFaults(self._stage, ledger).kinds,
            *LineFaults(self._stage).kinds,
            *self._operators.kinds,
            *self.requests.kinds,
            *Restores(self._stage).kinds,
            *SyncFaults(self._rng, self._stage.trace, self._some_hosts, self._stage.start).kinds,
            *(edits if shape.edited else []),
            *(self.rollbacks.kinds if shape.rolled_back else []),
            *(self.region_volumes.kinds if only_kinds() else []),
        ]

    def end(self) -> None:
        """Everything works again, and nothing is asked for any more."""
        stage = self._stage
        stage.wires.heal()
        stage.wires.extra_seconds = 0.0
        stage.kube.annotate(paused=None)
        for hosts in stage.fleet.machines.values():
            hosts[0].network.heal()
            for host in hosts:
                host.volume.failing_syncs = 0
                if host.stopping or host.volume.unreported:
                    host.crash(power=False)
                if host.wanted and not host.running:
                    host.start()
        self._operators.end()
        self.failovers.end()
        stage.trace.fault("all is repaired")

    # ------------------------------------------------------------------ regions and their replicas

    def _some_hosts(self) -> list[Host]:
        return self._stage.fleet.region(self._stage.some_region())

    def _some_replicas(self) -> _Replicas | None:
        large = [region for region in self._stage.regions if len(self._stage.fleet.region(region)) >= 3]
        return _Replicas(self._stage.fleet.region(self._rng.choice(large))) if large else None

    async def _lose_region(self) -> None:
        hosts = self._some_hosts()
        power = self._rng.random() < 0.5
        for host in hosts:
            host.crash(power=power)
        await asyncio.sleep(self._stage.while_seconds())
        await self._stage.start(hosts)

    async def _lose_replica(self) -> None:
        for host in self._rng.sample(hosts := self._some_hosts(), min(1, len(hosts))):
            host.crash(power=self._rng.random() < 0.5)
            await asyncio.sleep(self._rng.choice([0.05, 0.5, 2.0]))
            await self._stage.start([host])

    async def _stop_replica(self) -> None:
        for host in self._rng.sample(hosts := self._some_hosts(), min(1, len(hosts))):
            await host.stop()
            await self._stage.start([host])

    async def _stall(self) -> None:
        """A process does not get to run for a while, and does not notice."""
        hosts = [host for host in self._some_hosts() if host.process is not None]
        stalled: list[Host | OperatorHost] = [*hosts, *self._stage.operators]
        for one in self._rng.sample(stalled, self._rng.choice([1, 1, 2]) if len(stalled) > 1 else 1):
            seconds = self._rng.choice([0.2, 1.0, 3.0, 6.0]) * self._rng.uniform(0.5, 1.5)
            if one.process is not None:
                self._stage.trace.fault(f"{one.name} stalls for {seconds:.1f} s")
                one.process.pause(seconds)
        await asyncio.sleep(self._rng.uniform(0.0, 3.0))

    async def _split_region(self) -> None:
        """A replica cannot reach the others of its region; everybody else reaches them all."""
        large = [hosts for region in self._stage.regions if len(hosts := self._stage.fleet.region(region)) > 1]
        if not large:
            return
        hosts = self._rng.choice(large)
        host = next((found for found in hosts if found.leads), hosts[0])
        network = host.network
        self._stage.trace.fault(f"split {host.name} from its region")
        network.isolate({host.name}, {found.name for found in hosts}, outward=self._rng.random() < 0.8)
        await asyncio.sleep(self._stage.while_seconds())
        self._stage.trace.fault(f"{host.name} is back with its region")
        network.heal()
