"""A machine of a region: disk, clock, and the replica's process on it, which is the whole of a pod's."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rstore_replica.config import ReplicaConfig
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.composition import Place, Replica
from rstore_replica.raft import Role
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import VolumeRolledBackError
from rstore_replica.replication.ending.rules import Decision
from sim.disk import SimDisk, Volume, disk_error
from sim.network import Network, SimTransport
from sim.oracle import DurableLog, durable_log, is_durable
from sim.process import HostClock, ProcessDied
from sim.regions.rpc_server import ServerEnd, SimServer
from sim.regions.sites import HostProcess
from sim.regions.wires import WORLD, Wire, Wires
from sim.world import World

if TYPE_CHECKING:
    from sim.regions.ledger import Ledger


RESTART_SECONDS = 0.5


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
        self.started_at = 0.0
        """When its newest process began, in seconds of the simulation."""
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
        self.rolled_back = False
        """Its volume is an earlier one than its replica has promised, and that was not noticed yet."""
        self.recognised = 0
        self._lost = self._saved_log = DurableLog(1, ())
        self._saved = root.with_name(root.name + ".saved")

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """A new process, on what the last one has left."""
        assert self.process is None
        assert self.config is not None
        if not self.powered:
            self._lose_power()
        elif (self.volume.holes or self.volume.live_data_lost) and self.rng.random() < 0.5:
            self.volume.drop_caches()
        self._incarnation += 1
        self.started_at = asyncio.get_running_loop().time()
        process = HostProcess(self.name, self._incarnation, self)
        self.process = process
        self._world.trace.fault(f"start {self.name}")
        process.spawn(self._run(process, self.config))

    def _lose_power(self) -> None:
        self.powered = True
        self.boot += 1
        self.volume.lose_power()
        if not self._released:
            self.volume.spoil_live_data()

    def save_volume(self) -> None:
        """Takes a snapshot of its disk, as after a loss of power."""
        assert self.process is None
        self._lose_power()
        shutil.rmtree(self._saved, ignore_errors=True)
        shutil.copytree(self.root, self._saved)
        self._saved_log = self._durable

    def roll_back(self) -> None:
        """Its disk is what was saved. What it had promised meanwhile was durable when it was asked."""
        assert self.process is None
        self._world.trace.fault(f"roll back {self.name}")
        self.volume.empty()
        shutil.copytree(self._saved, self.root, dirs_exist_ok=True)
        self._lost, self._durable = self._durable, self._saved_log
        self.powered = self.rolled_back = True
        self.boot += 1

    def forget_the_log(self) -> None:
        """All volumes of its region went back: where nobody there notices, other entries take the place of some."""
        self._lost = DurableLog(1, ())
        self.life += 1

    async def _run(self, process: HostProcess, config: ReplicaConfig) -> None:
        try:
            self.disk = SimDisk(self.volume, process, self.rng, lambda: self.crash(power=self.rng.random() < 0.5))
            place = Place(self.name, self.root, self.root / "tls", self.root / "config", "0.0.0.0")
            self.replica = replica = Replica(config, place)
            self._ledger.leases.watch(self)
            machine = replica.machine
            machine._deletion_step_keys = 1
            machine.apply = functools.partial(self._ledger.on_apply, self, machine)  # type: ignore[method-assign]
            machine.sync = functools.partial(self._sync, machine)  # type: ignore[method-assign]
            machine.restore = functools.partial(self._restore, machine)  # type: ignore[method-assign]
            replica.failed.add_done_callback(self._failed)
            replica.group.on_change(self._changed)
            await replica.start()
            self.ready = True
        except ProcessDied:
            raise
        except Exception as error:
            if not self._ends_by_disk(error):
                self._world.violated(f"{self.name} does not start: {type(error).__name__}: {error}")

    def open_machine(self, open_machine: Callable[[], Machine]) -> Machine:
        """From here on the data is in use; a process that dies before has touched nothing."""
        if not self.volume.live_data.exists():
            self.volume.renew_live_data()
        self._released = False
        return open_machine()

    def _sync(self, machine: Machine) -> None:
        self.volume.report(self.volume.live_data)
        type(machine).sync(machine)
        self.volume.write_back()

    def _restore(self, machine: Machine, directory: Path) -> None:
        type(machine).restore(machine, directory)
        self.volume.renew_live_data()

    def _ends_by_disk(self, error: BaseException) -> bool:
        """Whether the process may end by this; then whatever runs containers begins another one."""
        cause = disk_error(error)
        if cause is None:
            return False
        self._world.trace.fault(f"{self.name} ends: {cause.strerror}")
        asyncio.get_running_loop().call_soon(self._end_and_begin_again, context=WORLD.copy())
        return True

    def _end_and_begin_again(self) -> None:
        self.crash(power=False)
        asyncio.get_running_loop().call_later(RESTART_SECONDS, self._begin_again, context=WORLD.copy())

    def _begin_again(self) -> None:
        if self.wanted and not self.running:
            self.start()

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
        self._durable = self._lost = DurableLog(1, ())
        self._voters = frozenset()
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
            error = task.exception() if task.done() and not task.cancelled() else None
            if isinstance(error, Exception) and disk_error(error) is None:
                self._world.violated(f"{self.name} does not stop: {error!r}")
            self._released = task.done() and error is None
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

    @property
    def counts(self) -> bool:
        """Whether what it says counts in its group: its log is that of the member it is."""
        journal = self._journal()
        latest = None if journal is None else journal.memberships.latest
        return journal is not None and latest is not None and latest.votes(self.name, journal.identity)

    def holds_durably(self, index: int, term: int) -> bool:
        """See :class:`sim.oracle.Log`."""
        if self._lost.holds(index, term):
            return True  # when it was asked, before its volume was rolled back
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
        if isinstance(error, VolumeRolledBackError) and self.rolled_back:
            self.rolled_back = False
            self.recognised += 1
            asyncio.get_running_loop().call_soon(self._end_and_begin_again, context=WORLD.copy())
            return
        if isinstance(error, ProcessDied) or self._ends_by_disk(error):
            return
        self._world.violated(f"{self.name} gives up: {type(error).__name__}: {error}")
        asyncio.get_running_loop().call_soon(lambda: self.crash(power=False), context=WORLD)
