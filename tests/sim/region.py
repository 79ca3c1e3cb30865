"""The replicas of one region in the simulated world: machines that fail, and the real replica code on each."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rstore_api.proto import rstore_pb2
from rstore_replica.api.batcher import Batcher, BatchLimits
from rstore_replica.disk_full import NO_ROOM
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.live_data import LiveData
from rstore_replica.raft import Group, GroupStatus, Member, RaftConfig, Role
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import VolumeRolledBackError
from sim.disk import SimDisk, Volume, disk_error, no_room
from sim.network import Network, SimTransport
from sim.oracle import DurableLog, Oracle, durable_log, is_durable
from sim.process import HostClock, Process, ProcessDied
from sim.trace import Trace

if TYPE_CHECKING:
    from sim.world import World

STORE_ID = "sim"
REGION = "one"
NOT_LEADING = 1 << 62
RESTART_SECONDS = 0.5


@dataclass(frozen=True)
class RegionProfile:
    """What one run's region is like."""

    size: int
    raft: RaftConfig
    batch: BatchLimits
    aside_seconds: tuple[float, float]
    """Range of what a checkpoint takes."""


class WatchedMachine:
    """The state machine as the group has it; the oracle sees what is applied."""

    def __init__(self, host: Host, machine: Machine, oracle: Oracle) -> None:
        self._host = host
        self._machine = machine
        self._oracle = oracle

    @property
    def applied_index(self) -> int:
        return self._machine.applied_index

    def apply(self, index: int, term: int, entry: bytes) -> object:
        host = self._host
        assert host.group is not None
        if host.volume.full:
            raise no_room(Path("mvcc"))
        status = host.group.status()
        if status.role is Role.LEADER and status.commit_index > host.commit_at_election:
            counted = host.journal.term_at(status.commit_index) if host.journal is not None else None
            if counted not in (None, status.term):
                self._oracle.violated(
                    f"{host.name} leads term {status.term} and commits entry {status.commit_index} of term {counted} "
                    "by counting who holds it"
                )
        answer = self._oracle.on_apply(host.name, index, term, entry, self._machine, status.term)
        if self._machine.applied_index < index and host.disk is not None and host.disk.about_to("apply in part"):
            host.disk.die()
        return answer

    def checkpoint(self, directory: Path) -> None:
        if self._host.volume.full:
            raise no_room(directory)
        self._machine.checkpoint(directory)

    def sync(self) -> None:
        self._host.volume.report(self._host.volume.live_data)
        self._machine.sync()
        self._host.volume.write_back()

    def close(self) -> None:
        self._machine.close()

    def restore(self, directory: Path) -> None:
        if self._host.installs is not None:
            self._host.installs()
        self._machine.restore(directory)
        self._host.volume.renew_live_data()
        self._host.restored += 1


class Gate:
    """Whether writes are taken; in one region alone, once it has been bootstrapped."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def open(self) -> bool:
        return self._machine.state.writable

    @property
    def refusal(self) -> str:
        return "" if self.open else "the region is not bootstrapped"

    @property
    def epoch(self) -> int:
        return self._machine.state.epoch


class Host:
    """A machine with its disk and clock, and the replica's process on it, while there is one."""

    def __init__(
        self,
        name: str,
        *,
        root: Path,
        members: tuple[Member, ...],
        profile: RegionProfile,
        network: Network,
        oracle: Oracle,
        trace: Trace,
        rng: random.Random,
        violated: Callable[[str], None],
    ) -> None:
        self.name = name
        self.members = members
        """With which its next process is started."""
        self._profile = profile
        self._network = network
        self._oracle = oracle
        self._trace = trace
        self._rng = rng
        self._violated = violated
        self.volume = Volume(root, random.Random(rng.random()))
        self.volume.aside_seconds = profile.aside_seconds
        self._root = root
        self._rate = rng.uniform(0.99, 1.01)
        self._boot = 1
        self.incarnation = 0
        """How many processes there were."""
        self._powerless = False
        self._environment_synced = False
        self._durable = self._lost = DurableLog(1, ())
        self._voters: tuple[str, ...] = tuple(member.name for member in members)
        self.process: Process | None = None
        self.group: Group | None = None
        self.machine: Machine | None = None
        self._live_data: LiveData | None = None
        self._watched: WatchedMachine | None = None
        self.batcher: Batcher | None = None
        self.disk: SimDisk | None = None
        self._transport: SimTransport | None = None
        self.ready = False
        self.stopping = False
        self.restored = 0
        self.rolled_back = False
        """Its volume is an earlier one than its replica has promised, and that was not noticed yet."""
        self.recognised = 0
        self._saved = root.with_name(root.name + ".saved")
        self._saved_log = DurableLog(1, ())
        self.retired = False
        """It is no part of the region; nothing runs on it."""
        self.installs: Callable[[], None] | None = None
        """Called when a checkpoint is to be installed."""
        self.ended_without_room = 0
        self.commit_at_election = NOT_LEADING
        self.on_elected: Callable[[Host], None] = lambda _host: None

    # ------------------------------------------------------------------ life

    @property
    def running(self) -> bool:
        """Whether a process is there, ready or not."""
        return self.process is not None

    def start(self) -> None:
        """A new process, on what the last one has left."""
        assert self.process is None
        if self.retired:
            return
        if self._powerless:
            self._lose_power()
        elif (self.volume.holes or self.volume.live_data_lost) and self._rng.random() < 0.5:
            self.volume.drop_caches()
        self.incarnation += 1
        self.commit_at_election = NOT_LEADING
        process = Process(self.name, self.incarnation)
        self.process = process
        self._trace.fault(f"start {self.name}")
        process.spawn(self._run(process))

    def _lose_power(self) -> None:
        self._powerless = False
        self._boot += 1
        self.volume.lose_power()
        if not self._environment_synced:
            self.volume.spoil_live_data()

    def save_volume(self) -> None:
        """A snapshot of its disk, as after a loss of power."""
        assert self.process is None
        self._lose_power()
        shutil.rmtree(self._saved, ignore_errors=True)
        shutil.copytree(self._root, self._saved)
        self._saved_log = self._durable

    def roll_back(self) -> None:
        """Its disk is what was saved. What it had promised meanwhile was durable when it was asked."""
        assert self.process is None
        self._trace.fault(f"roll back {self.name}")
        self.volume.empty()
        shutil.copytree(self._saved, self._root, dirs_exist_ok=True)
        self._lost, self._durable = self._durable, self._saved_log
        self._powerless = False
        self._boot += 1
        self.rolled_back = True

    async def _run(self, process: Process) -> None:
        try:
            self.disk = SimDisk(self.volume, process, self._rng, lambda: self.crash(power=self._rng.random() < 0.5))
            self._live_data = live_data = LiveData(self._root, disk=self.disk, boot_id=str(self._boot))
            self.machine = machine = live_data.open(self._open_machine)
            self._watched = watched = WatchedMachine(self, machine, self._oracle)
            loop = asyncio.get_running_loop()
            self._transport = SimTransport(self._network, process, self._rng.getrandbits(63) | 1)
            self.group = group = Group(
                name=self.name,
                members=self.members,
                directory=self._root / "raft",
                machine=watched,
                transport=self._transport,
                clock=HostClock(loop, self._rate),
                disk=self.disk,
                config=self._profile.raft,
                rng=random.Random(self._rng.random()),
                on_fatal=self._failed,
            )
            group.on_change(self._changed)
            self.batcher = Batcher(
                group=group,
                gate=Gate(machine),
                write_limits=lambda _bytes: rstore_pb2.WriteLimits(max_txn_ops=128),
                limits=self._profile.batch,
            )
            await group.start()
            self.ready = True
        except ProcessDied:
            raise
        except Exception as error:
            if self._disk_failed(error):
                return
            self._violated(f"{self.name} does not start: {type(error).__name__}: {error}")

    def _open_machine(self) -> Machine:
        if not self.volume.live_data.exists():
            self.volume.renew_live_data()
        self._environment_synced = False
        return Machine.open(self.volume.live_data, region=REGION, map_bytes=1 << 20, deletion_step_keys=2, slice_keys=2)

    def crash(self, *, power: bool) -> None:
        """The process ends here and now; with ``power`` its machine too."""
        if self.process is None:
            return
        self._trace.fault(f"{'power off' if power else 'kill'} {self.name}")
        self._end(silently=power)
        self._powerless = self._powerless or power

    def _disk_failed(self, error: BaseException) -> bool:
        """A process that cannot do without room, or whose sync failed, may end; what comes after it goes on."""
        cause = disk_error(error)
        if cause is None:
            return False
        self._trace.fault(f"{self.name} ends: {cause.strerror}")
        self.ended_without_room += cause.errno == errno.ENOSPC
        asyncio.get_running_loop().call_soon(self._end_and_begin_again, context=contextvars.Context())
        return True

    def empty(self) -> None:
        """Its volume is replaced by an empty one, and it knows nothing any more."""
        assert self.process is None
        self._trace.fault(f"empty {self.name}")
        self.volume.empty()
        self._lost, self._durable = self._durable, DurableLog(1, ())

    async def stop(self) -> None:
        """An orderly end, as on SIGTERM."""
        process, group, batcher = self.process, self.group, self.batcher
        live_data, watched = self._live_data, self._watched
        if process is None or not self.ready or self.stopping:
            return
        assert group is not None
        assert batcher is not None
        assert live_data is not None
        self._trace.fault(f"stop {self.name}")
        self.stopping = True

        async def work() -> None:
            await group.stop()
            await batcher.close()
            await live_data.release(cast(Machine, watched))
            self._environment_synced = True

        task = process.spawn(work())
        await asyncio.wait([task], timeout=5)
        if self.process is process:
            error = task.exception() if task.done() and not task.cancelled() else None
            if isinstance(error, Exception) and disk_error(error) is None:
                self._violated(f"{self.name} does not stop: {error!r}")
            self._end(silently=False)

    def _end(self, *, silently: bool) -> None:
        process = self.process
        assert process is not None
        process.kill()
        journal = self.journal
        if journal is not None:
            assert self._transport is not None
            self._voters = self.voters
            self._durable = durable_log(journal, self.volume.synced)
            self._network.leave(self._transport, silently=silently)
        if self.machine is not None:
            self.machine.close()
        self.process = self.group = self.machine = self.batcher = self.disk = self._transport = None
        self.ready = self.stopping = False

    def close(self) -> None:
        """After the run."""
        if self.process is not None:
            self._end(silently=True)

    # ------------------------------------------------------------------ what it is

    @property
    def journal(self) -> Journal | None:
        """The log of the process that runs; None before it is recovered."""
        return None if self.group is None else self.group.journal

    @property
    def leads(self) -> bool:
        """Whether it believes so."""
        return self.ready and self.group is not None and self.group.role is Role.LEADER

    def holds_durably(self, index: int, term: int) -> bool:
        """See :class:`sim.oracle.Log`."""
        if self._lost.holds(index, term):
            return True  # when it was asked, before its volume was emptied
        if self.journal is not None:
            return is_durable(self.journal, self.volume.synced, index, term)
        return self._durable.holds(index, term)

    @property
    def voters(self) -> tuple[str, ...]:
        """Who counts, as this machine's log has it at its end."""
        if self.journal is not None:
            latest = self.journal.memberships.latest
            if latest is not None:
                self._voters = tuple(replica.name for replica in latest.replicas if not replica.learner)
        return self._voters

    @property
    def counts(self) -> bool:
        """Whether what it says counts in its group: its log is that of the member it is."""
        if self.journal is None or not self.ready:
            return False
        latest = self.journal.memberships.latest
        return latest is not None and latest.votes(self.name, self.journal.identity)

    def _changed(self, status: GroupStatus) -> None:
        self._trace.add(f"{self.name} {status.role.value} t{status.term} leader {status.leader}")
        if status.role is not Role.LEADER:
            self.commit_at_election = NOT_LEADING
        elif self.journal is not None:
            self.commit_at_election = status.commit_index
            self._oracle.on_leader(self.name, status.term, self.journal)
            self.on_elected(self)

    def _failed(self, error: BaseException) -> None:
        if not (isinstance(error, OSError) and error.errno in NO_ROOM) and self._live_data is not None:
            self._live_data.distrust()
        if isinstance(error, VolumeRolledBackError) and self.rolled_back:
            self.rolled_back = False
            self.recognised += 1
            asyncio.get_running_loop().call_soon(self._end_and_begin_again, context=contextvars.Context())
        elif not isinstance(error, ProcessDied) and not self._disk_failed(error):
            self._violated(f"{self.name} gives up: {type(error).__name__}: {error}")

    def _end_and_begin_again(self) -> None:
        """As whatever runs containers does with one that has ended."""
        self.crash(power=False)
        asyncio.get_running_loop().call_later(RESTART_SECONDS, self._begin_again)

    def _begin_again(self) -> None:
        if not self.running:
            self.start()


def make_hosts(
    world: World, root: Path, names: list[str], profile: RegionProfile, violated: Callable[[str], None]
) -> tuple[list[Host], Oracle]:
    """Machines of these names, and who watches them; the first ``profile.size`` make the region, the rest is spare."""
    members = tuple(Member(name, f"{name}:2380") for name in names[: profile.size])
    hosts: list[Host] = []
    oracle = Oracle(hosts, violated)
    for name in names:
        host = Host(
            name,
            root=root / name,
            members=members,
            profile=profile,
            network=world.network,
            oracle=oracle,
            trace=world.trace,
            rng=random.Random(world.rng.random()),
            violated=violated,
        )
        host.retired = len(hosts) >= profile.size
        hosts.append(host)
    return hosts, oracle


def bootstrap_entry() -> bytes:
    """What makes the region a store's only one."""
    topology = rstore_pb2.Topology(epoch=1, version=1, primary_region=REGION)
    request = rstore_pb2.BootstrapRequest(store_id=STORE_ID, topology=topology)
    return rstore_pb2.LogEntry(bootstrap=request).SerializeToString()
