"""Scope ``regions``: a store of two, three or five regions with its operators and clients, and everything between them
that can go wrong.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import ExitStack
from pathlib import Path

from sim.fault_rows import only_kinds
from sim.history import Outcome
from sim.network import Network
from sim.regions import verdict
from sim.regions.clients import RegionClients
from sim.regions.faults import RegionFaults
from sim.regions.host import Host
from sim.regions.kube import Kube, ip_of
from sim.regions.lease_clients import LeaseClients
from sim.regions.ledger import Ledger
from sim.regions.operators import OperatorHost
from sim.regions.platform import simulated
from sim.regions.shape import Shape, shape_of
from sim.regions.sites import NAMESPACE, STORE, clients_site
from sim.regions.stage import Stage
from sim.regions.watchers import Watchers
from sim.regions.wires import Wires
from sim.world import World

CREATION_SECONDS = 60.0
FAULTS_SECONDS = 25.0
LONG_FAULTS_SECONDS = 75.0
"""Where people have to bring a region back by many steps."""
RECOVERY_SECONDS = 120.0
QUIET_SECONDS = 25.0
"""For so long some runs are looked at once all is well: nothing may change of itself."""


class RegionsScenario:
    """One run."""

    def __init__(self, world: World, root: Path) -> None:
        self._world = world
        rng = world.rng
        loop = asyncio.get_running_loop()
        self.shape: Shape = shape_of(rng)
        self.wires = Wires(loop, random.Random(rng.random()), world.trace)
        self.wires.far_seconds = self.shape.far_seconds
        self.ledger = Ledger(world, needed_regions=0 if self.shape.degrades else self.shape.semi_sync_regions)
        self._root = root
        self.fleet = self.ledger.fleet
        self.fleet.machines.update({region: self._region(region, n) for region, n in self.shape.machines.items()})
        self._by_name = {name: host for host in self.fleet.all_hosts() for name in _names(host)}
        self.kube = Kube(world, self.wires, self.shape.spec, self.fleet)
        self.operators = [
            OperatorHost(
                f"operator-{number}",
                world=world,
                wires=self.wires,
                kube=self.kube,
                rng=random.Random(rng.random()),
            )
            for number in range(self.shape.operators)
        ]
        self._clients = RegionClients(
            self.fleet,
            ip_of,
            random.Random(rng.random()),
            world.trace,
            regions=self.shape.replicas,
            keys=4,
            pause_seconds=self.shape.pause_seconds,
            compactions=self.shape.compactions,
        )
        self._watchers = Watchers(
            self.ledger, ip_of, random.Random(rng.random()), world.trace, tuple(self.shape.replicas)
        )
        self._leases = LeaseClients(self.ledger, ip_of, random.Random(rng.random()), self.shape.replicas)
        stage = Stage(self.fleet, self.operators, self.kube, self.wires, random.Random(rng.random()), world.trace)
        self._faults = RegionFaults(stage, world, self.ledger, self.shape)
        self._stack = ExitStack()
        self._stack.enter_context(simulated(self.wires, self._by_name.get))
        world.trace.fault(self.shape.text())

    def _region(self, region: str, count: int) -> list[Host]:
        rng = self._world.rng
        network = Network(asyncio.get_running_loop(), random.Random(rng.random()), self._world.trace)
        self.wires.neighbours(region, clients_site(region))
        return [
            Host(
                f"{STORE}-{region}-{ordinal}",
                region,
                root=self._root / f"{region}-{ordinal}",
                world=self._world,
                wires=self.wires,
                network=network,
                ledger=self.ledger,
                profile=self.shape.profile,
                rng=random.Random(rng.random()),
            )
            for ordinal in range(count)
        ]

    async def run(self) -> None:
        """Creation, faults while clients work, then peace, then the questions."""
        self.operators[0].start()
        await self._until_settled(CREATION_SECONDS, "after its creation")
        if self._world.first_violation is not None:
            return
        self.kube.runs.counts.clear()
        for operator in self.operators:
            operator.start()
        clients = asyncio.ensure_future(self._clients.run(self.shape.clients))
        watchers = self._watchers.start()
        leases = self._leases.start()
        watcher = asyncio.ensure_future(self._watch())
        await asyncio.sleep(0.5)
        seconds = LONG_FAULTS_SECONDS if "rolled_back_region" in only_kinds() else FAULTS_SECONDS
        await self._faults.rows.run(seconds, 1 if self.shape.amid_failovers else self._world.rng.randint(1, 3))
        self._faults.end()
        await self._recover()
        self._clients.stopping = True
        self._leases.stopping = True
        await asyncio.gather(clients, *leases)
        await self._leases.gone()
        watcher.cancel()
        await self._until_settled(RECOVERY_SECONDS, "after everything was repaired")
        await self._watchers.catch_up(self.ledger.shown(verdict.newest_revision(self.ledger)))
        await asyncio.gather(*watchers)
        self._note()
        if self._world.first_violation is None:
            await verdict.check(self.kube, self.ledger, self._clients.operations, self._clients.local)
            if self.ledger.needed_regions:
                verdict.check_semi_sync(self.ledger, self._faults.failovers.loss_accepted)

    def close(self) -> None:
        """After the run, whatever came of it."""
        for host in self.fleet.all_hosts():
            host.close()
        self._stack.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self.ledger.check_tenures()

    async def _recover(self) -> None:
        """Clients get their answers again while the store comes to rest."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECOVERY_SECONDS
        before = self._done()
        while self._done() < before + 5:
            self._faults.gone.heed()
            if loop.time() > deadline:
                why = verdict.unsettled(self.kube, self.fleet)
                self._world.violated(f"I5: no client is served {RECOVERY_SECONDS:g} s after all was repaired: {why}")
                return
            await asyncio.sleep(0.2)
        await asyncio.sleep(QUIET_SECONDS if self._world.rng.random() < 0.05 else self._world.rng.uniform(0.0, 4.0))

    async def _until_settled(self, seconds: float, when: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while reason := verdict.unsettled(self.kube, self.fleet) or verdict.miscounted(self.kube, self.ledger):
            self._faults.requests.heed()
            self._faults.gone.heed()
            if loop.time() > deadline:
                self._world.violated(f"I5: the store is not well {seconds:g} s {when}: {reason}")
                return
            await asyncio.sleep(0.25)

    def _done(self) -> int:
        """What was answered by the primary; what a replica itself has can be read at any time."""
        local = self._clients.local
        operations = self._clients.operations
        return sum(item.outcome is Outcome.DONE and item.number not in local for item in operations)

    def _note(self) -> None:
        receipts = self.kube.status.get("history", [])
        self._world.notes.update(
            operations=len(self._clients.operations),
            done=self._done(),
            unknown=sum(operation.outcome is Outcome.UNKNOWN for operation in self._clients.operations),
            epochs=len(self.ledger.starts),
            failovers=sum(receipt.get("mode") != "Planned" for receipt in receipts),
            switchovers=sum(receipt.get("mode", "Planned") == "Planned" for receipt in receipts),
            aborted=sum(receipt.get("outcome") == "Aborted" for receipt in receipts),
            rewinds=self.ledger.rewinds,
            snapshots=self.ledger.snapshots,
            compactions=self._clients.compacted,
            shown=sum(watcher.events for watcher in self._watchers.watchers),
            shown_compacted=sum(watcher.compactions for watcher in self._watchers.watchers),
            applied=self.ledger.applied,
            leases=self.ledger.leases.granted,
            leases_renewed=self.ledger.leases.renewed,
            leases_ended=self.ledger.leases.ended,
            failed_syncs=sum(host.volume.failed_syncs for host in self.fleet.all_hosts()),
            forgotten=self._faults.gone.forgotten,
            formed_anew=self._faults.region_volumes.formed_anew,
            at_once=self._faults.region_volumes.at_once,
            went_on=self._faults.region_volumes.went_on,
            rolled_back=self._faults.rollbacks.rolled_back,
            recognised=sum(host.recognised for host in self.fleet.all_hosts()),
            **self.kube.runs.counts,
            **self._faults.rows.happened,
            seconds=round(asyncio.get_running_loop().time() - 1000.0),
        )


def _names(host: Host) -> tuple[str, str]:
    """The names that lead to a machine: its pod's host name and its address."""
    return f"{host.name}.{STORE}-{host.region}-peers.{NAMESPACE}.svc", ip_of(host)
