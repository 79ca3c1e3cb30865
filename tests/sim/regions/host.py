"""A machine of a region: disk, clock, and the replica's process on it, which is the whole of a pod's."""

from __future__ import annotations

import asyncio
import functools
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rstore_replica.config import ReplicaConfig
from rstore_replica.process.composition import Place, Replica
from rstore_replica.raft import Role
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.replication.ending.rules import Decision
from sim.disk import SimDisk, Volume
from sim.network import Network, SimTransport
from sim.oracle import DurableLog, durable_log, is_durable
from sim.process import HostClock, ProcessDied
from sim.regions.rpc_server import ServerEnd, SimServer
from sim.regions.sites import HostProcess
from sim.regions.wires import WORLD, Wire, Wires
from sim.world import World

if TYPE_CHECKING:
    from sim.regions.ledger import Ledger


@dataclass(frozen=True)
class Profile:
    """What is alike on all machines of a run."""

    raft: dict[str, Any] = field(default_factory=dict)
    """Settings of Raft that replace the defaults."""
    aside_seconds: tuple[float, float] = (0.001, 0.02)


class Host:
    """The machine outlives its processes: ``start`` and ``crash`` may be called any number of times."""

    def __init__(
        self,
        name: str,
        region: str,
        *,
        root: Path,
        world: World,
        wires: Wires,
        network: Network,
        ledger: Ledger,
        profile: Profile,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.region = self.site = region
        self.root = root
        self.profile = profile
        self.rng = rng
        self.network = network
        self._world = world
        self._wires = wires
        self._ledger = ledger
        self.volume = Volume(root, random.Random(rng.random()))
        self.volume.aside_seconds = profile.aside_seconds
        self.clock = HostClock(asyncio.get_running_loop(), rng.uniform(0.99, 1.01))
        self.config: ReplicaConfig | None = None
        self.boot = self.life = 1
        self._incarnation = 0
        self._released = False
        self._durable = DurableLog(1, ())
        self._voters: frozenset[str] = frozenset()
        self.powered = True
        self.wanted = False
        """Whether somebody sees to it that a process runs here."""
        self.process: HostProcess | None = None
        self.replica: Replica | None = None
        self.disk: SimDisk | None = None
        self.transport: SimTransport | None = None
        self.lock = -1
        """The descriptor by which the process owns its volume."""
        self.ports: dict[int, SimServer] = {}
        self.ready = False
        self.stopping = False
        self.crashes = 0

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """A new process, on what the last one has left."""
        assert self.process is None
        assert self.config is not None
        if not self.powered:
            self.powered = True
            self.boot += 1
            self.volume.lose_power()
            if not self._released:
                self._spoil_data()
        self._incarnation += 1
        process = HostProcess(self.name, self._incarnation, self)
        self.process = process
        self._world.trace.fault(f"start {self.name}")
        process.spawn(self._run(process, self.config))

    async def _run(self, process: HostProcess, config: ReplicaConfig) -> None:
        self._released = False  # from here on the data are in use; a process that dies before has touched nothing
        try:
            self.disk = SimDisk(self.volume, process, self.rng, lambda: self.crash(power=self.rng.random() < 0.5))
            place = Place(self.name, self.root, self.root / "tls", "0.0.0.0")
            self.replica = replica = Replica(config, place)
            machine = replica.machine
            machine.apply = functools.partial(self._ledger.on_apply, self, machine)  # type: ignore[method-assign]
            replica.failed.add_done_callback(self._failed)
            replica.group.on_change(self._changed)
            await replica.start()
            self.ready = True
        except ProcessDied:
            raise
        except Exception as error:
            self._world.violated(f"{self.name} does not start: {type(error).__name__}: {error}")

    def crash(self, *, power: bool) -> None:
        """The process ends here and now; with ``power`` its machine too."""
        if self.process is not None:
            self.crashes += 1
            self._world.trace.fault(f"{'power off' if power else 'kill'} {self.name}")
            self._end(silently=power)
        if power:
            self.powered = False

    def empty(self) -> None:
        """Its volume is gone; the next process finds an empty one."""
        assert self.process is None
        self._world.trace.fault(f"empty {self.name}")
        self.volume.empty()
        self._durable, self._voters = DurableLog(1, ()), frozenset()
        self.life += 1

    async def stop(self) -> Decision | None:
        """An orderly end, as on SIGTERM: what it waited for, None when it did not come to its end."""
        process, replica = self.process, self.replica
        if process is None or replica is None or not self.ready or self.stopping:
            return None
        decisions: list[Decision] = []
        leave = replica.replication.ending.leave

        async def noted() -> Decision:
            decisions.append(await leave())
            return decisions[0]

        replica.replication.ending.leave = noted  # type: ignore[method-assign]
        self._world.trace.fault(f"stop {self.name}")
        self.stopping = True
        task = process.spawn(replica.stop())
        await asyncio.wait([task], timeout=25)
        if self.process is process:
            if task.done() and not task.cancelled() and isinstance(task.exception(), Exception):
                self._world.violated(f"{self.name} does not stop: {task.exception()!r}")
            self._released = task.done()
            self._end(silently=False)
            return decisions[0] if self._released and decisions else None
        return None

    def _end(self, *, silently: bool) -> None:
        process, replica = self.process, self.replica
        assert process is not None
        process.kill()
        self._wires.died(process, silently=silently)
        if replica is not None:
            journal = replica.group.journal
            if journal is not None:
                assert self.transport is not None
                self._voters = self.voters
                self._durable = durable_log(journal, self.volume.synced)
                self.network.leave(self.transport, silently=silently)
            if not self._released:
                replica.machine.close()
                os.close(self.lock)
        self.process = self.replica = self.disk = self.transport = None
        self.ports = {}
        self.ready = self.stopping = False

    def _spoil_data(self) -> None:
        """The state machine's files were not synced: after a loss of power they must not be looked at."""
        for file in sorted((self.root / "mvcc").rglob("data.mdb")):
            file.write_bytes(self.rng.randbytes(512))

    def close(self) -> None:
        """After the run."""
        if self.process is not None:
            self._end(silently=True)

    # ------------------------------------------------------------------ what it is

    @property
    def running(self) -> bool:
        """Whether a process is there, ready or not."""
        return self.process is not None

    @property
    def leads(self) -> bool:
        """Whether it believes to lead its region."""
        return self.ready and self.replica is not None and self.replica.group.role is Role.LEADER

    @property
    def ready_pod(self) -> bool:
        """As the readiness probe has it."""
        return self.ready and self.replica is not None and not self.replica.not_ready_reason()

    @property
    def voters(self) -> frozenset[str]:
        """Who counts in its region, as this machine's log has it at its end; empty before it knows."""
        journal = self._journal()
        if journal is not None:
            latest = journal.memberships.latest
            if latest is not None:
                self._voters = frozenset(replica.name for replica in latest.replicas if not replica.learner)
            elif self.config is not None:
                self._voters = frozenset(member.name for member in self.config.members)
        return self._voters

    def holds_durably(self, index: int, term: int) -> bool:
        """See :class:`sim.oracle.Log`."""
        journal = self._journal()
        if journal is not None:
            return is_durable(journal, self.volume.synced, index, term)
        return self._durable.holds(index, term)

    def _journal(self) -> Journal | None:
        return None if self.replica is None else self.replica.group.journal

    # ------------------------------------------------------------------ what it does

    def accept(self, port: int, wire: Wire) -> ServerEnd | None:
        """See :class:`sim.regions.wires.Listener`."""
        server = self.ports.get(port)
        if server is None or not server.serving or self.process is None:
            return None
        return ServerEnd(server, wire, self.site, self.process)

    def answered(self, path: str, request: Any, response: Any) -> None:
        """A call was answered without an error."""
        self._ledger.on_answer(self, path, request, response)

    def call_failed(self, path: str, error: Exception) -> None:
        """A call ended with what is no status: a mistake of the replica, or of the check of its answer."""
        self._world.violated(f"{self.name} fails in {path}: {type(error).__name__}: {error}")

    def _changed(self, status: Any) -> None:
        self._world.trace.add(f"{self.name} {status.role.value} t{status.term} leader {status.leader}")

    def _failed(self, failed: asyncio.Future[BaseException]) -> None:
        error = failed.result()
        if isinstance(error, ProcessDied):
            return
        self._world.violated(f"{self.name} gives up: {type(error).__name__}: {error}")
        asyncio.get_running_loop().call_soon(lambda: self.crash(power=False), context=WORLD)
