"""What goes wrong in a run: faults by the seed, up to three at a time, many of them where it hurts most."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
from collections.abc import Callable
from dataclasses import dataclass

from rstore_api import errors
from sim.fault_rows import FaultRows, Kinds, only_kinds, some_kinds
from sim.faults_late import LateMessages
from sim.faults_rollback import RollbackFaults
from sim.faults_sync import SyncFaults
from sim.faults_volume import VolumeFaults
from sim.members import Members
from sim.network import SILENCE_SECONDS, Network, Weather
from sim.region import Host
from sim.trace import Trace

ROLLED_BACK_RUNS = 0.05
"""Of so many runs, volumes that are rolled back are all that goes wrong."""
SLOW_SYNC_SECONDS = [(0.0005, 0.004), (0.01, 0.05), (0.05, 0.4), (0.0005, 1.2)]
WATCHED_KINDS = ["append", "append_reply", "vote", "vote_reply", "timeout_now", "round_reply", "checkpoint_reply"]

_WORLD = contextvars.Context()
"""Of no process: what is scheduled in it happens whoever dies."""


@dataclass(frozen=True)
class _Region:
    hosts: list[Host]
    members: Members
    network: Network

    @property
    def machines(self) -> list[Host]:
        return [host for host in self.hosts if not host.retired]

    @property
    def settled(self) -> bool:
        return self.members.settled


class Faults:
    """Each fault is a coroutine that makes something go wrong, waits, and undoes it."""

    def __init__(self, hosts: list[Host], members: Members, network: Network, rng: random.Random, trace: Trace) -> None:
        self.hosts = hosts
        self.network = network
        self.rng = rng
        self.trace = trace
        self.names = {host.name for host in hosts}
        self._traps: list[Callable[[str, str, str], bool]] = []
        self._hunted = 0.0
        network.on_send.append(self._sent)
        for host in hosts:
            host.on_elected = self._elected
        self.volumes = VolumeFaults(self, members)
        self.rollbacks = RollbackFaults(rng, trace, lambda: _Region(self.hosts, members, network))
        kinds: Kinds = [
            (3, self._power_off),
            (2, self._kill),
            (2, self._stop),
            (3, self._cut),
            (2, self._split),
            (2, self._weather),
            (2, self._slow_disks),
            (2, self._die_in_disk_operation),
            (4, self._die_after_sending),
            (3, self._cut_at_election),
            (2, self._hunt_leaders),
            (2, self.transfer),
            (1, self._stale_leader),
            (2, self._slow_election),
            (2, self._kill_unsynced),
            *LateMessages(self).kinds,
            *self.volumes.kinds,
            *SyncFaults(rng, trace, self.some, self.restart).kinds,
        ]
        if only_kinds():
            kinds += self.rollbacks.kinds
        elif rng.random() < ROLLED_BACK_RUNS:
            kinds = self.rollbacks.kinds
        else:
            kinds = some_kinds(kinds, rng)
        self.rows = FaultRows(kinds, rng, pause_seconds=0.5)

    def end(self) -> None:
        """Everything works again."""
        self._traps.clear()
        self._hunted = 0.0
        self.network.weather = Weather()
        self.network.holding = False
        self.network.on_time()
        self.network.heal()
        for host in self.hosts:
            host.volume.sync_seconds = SLOW_SYNC_SECONDS[0]
            host.volume.room_bytes = host.installs = None
            host.volume.failing_syncs = 0
            if host.disk is not None:
                host.disk.fuse = None
            if host.stopping:
                host.crash(power=False)
            if not host.running:
                host.start()

    # ------------------------------------------------------------------ machines

    def leader(self) -> Host | None:
        """One of those who believe they lead."""
        leading = [host for host in self.hosts if host.leads]
        return self.rng.choice(leading) if leading else None

    def some(self) -> list[Host]:
        """Running hosts: one, the leader, a majority, or all."""
        running = [host for host in self.hosts if host.running and not host.stopping]
        if not running:
            return []
        draw = self.rng.random()
        leader = self.leader()
        if draw < 0.35 and leader is not None:
            return [leader]
        if draw < 0.6:
            return [self.rng.choice(running)]
        if draw < 0.8:
            return self.rng.sample(running, min(len(running), len(self.hosts) // 2 + 1))
        return running

    async def _down(self, hosts: list[Host], *, power: bool) -> None:
        for host in hosts:
            host.crash(power=power)
        await self.restart(hosts)

    async def restart(self, hosts: list[Host]) -> None:
        """One after the other, sooner or later."""
        longest = self.rng.choice([0.05, 0.5, 3.0])
        for host in hosts:
            await asyncio.sleep(self.rng.uniform(0.0, longest) / len(hosts))
            if not host.running:
                host.start()

    async def _power_off(self) -> None:
        await self._down(self.some(), power=True)

    async def _kill(self) -> None:
        await self._down(self.some(), power=False)

    async def _stop(self) -> None:
        hosts = self.some()[:1]
        for host in hosts:
            await host.stop()
        await self.restart(hosts)

    async def _kill_unsynced(self) -> None:
        """Processes are killed, and are back at once, before their disks were done with what they had written."""
        for host in self.hosts:
            host.volume.sync_seconds = (0.5, 1.5)
        self.trace.fault("disks take up to 1.5 s")
        await asyncio.sleep(self.rng.uniform(0.05, 0.4))
        leader = self.leader()
        for host in self.hosts:
            if host is not leader or self.rng.random() < 0.2:
                host.crash(power=False)
        await asyncio.sleep(0.01)
        await self.restart(self.hosts)
        await asyncio.sleep(self.rng.uniform(0.2, 0.6))
        for host in self.hosts:
            host.volume.sync_seconds = SLOW_SYNC_SECONDS[0]

    async def _die_in_disk_operation(self) -> None:
        hosts = self.some()
        for host in hosts:
            if host.disk is not None:
                host.disk.fuse = self.rng.choice([0, 1, 2, 5, 10, 40])
        await asyncio.sleep(self.rng.uniform(0.1, 1.0))
        for host in hosts:
            if host.disk is not None:
                host.disk.fuse = None
        await self.restart(hosts)

    async def _slow_disks(self) -> None:
        hosts = self.rng.sample(self.hosts, self.rng.randint(1, len(self.hosts)))
        for host in hosts:
            host.volume.sync_seconds = self.rng.choice(SLOW_SYNC_SECONDS)
        self.trace.fault(f"slow disks {[(host.name, host.volume.sync_seconds) for host in hosts]}")
        await asyncio.sleep(self.rng.uniform(0.5, 4.0))
        for host in hosts:
            host.volume.sync_seconds = SLOW_SYNC_SECONDS[0]

    # ------------------------------------------------------------------ network

    async def _cut(self) -> None:
        """One replica, often the leader, is cut off: both ways or one."""
        host = self.leader() if self.rng.random() < 0.6 else None
        name = (host or self.rng.choice(self.hosts)).name
        outward, inward = self.rng.choice([(True, True), (True, True), (True, False), (False, True)])
        self.network.holding = self.rng.random() < 0.5
        self.trace.fault(f"cut {name} out={outward} in={inward} holding={self.network.holding}")
        self.network.isolate({name}, self.names, outward=outward, inward=inward)
        await self.heal()

    async def _split(self) -> None:
        """Two halves; or only some pairs do not reach each other."""
        if self.rng.random() < 0.6:
            part = set(self.rng.sample(sorted(self.names), self.rng.randint(1, max(1, len(self.names) // 2))))
            self.trace.fault(f"split off {sorted(part)}")
            self.network.isolate(part, self.names)
        else:
            pairs = [(a, b) for a in sorted(self.names) for b in sorted(self.names) if a != b]
            chosen = set(self.rng.sample(pairs, len(pairs) // 3))
            self.trace.fault(f"cut pairs {sorted(chosen)}")
            self.network.cut(chosen)
        await self.heal()

    async def heal(self) -> None:
        """After a while everybody reaches everybody."""
        await asyncio.sleep(self.rng.choice([0.2, 1.0, 2.5, 5.0]) * self.rng.uniform(0.5, 1.0))
        self.trace.fault("heal")
        self.network.heal()

    async def _weather(self) -> None:
        self.network.weather = Weather(
            delay_seconds=self.rng.choice([(0.0005, 0.005), (0.001, 0.05), (0.01, 0.3)]),
            loss=self.rng.choice([0.0, 0.02, 0.2]),
            duplication=self.rng.choice([0.0, 0.1, 0.5]),
            reorder=self.rng.choice([0.0, 0.1, 0.5]),
        )
        self.trace.fault(f"{self.network.weather}")
        await asyncio.sleep(self.rng.uniform(0.5, 4.0))
        self.network.weather = Weather()

    # ------------------------------------------------------------------ where it hurts

    def _sent(self, sender: str, receiver: str, kind: str) -> None:
        self._traps = [trap for trap in self._traps if not trap(sender, receiver, kind)]

    async def _die_after_sending(self) -> None:
        """The moment a replica has said something, its machine (or all of them) loses power or its process dies."""
        kind, power = self.rng.choice(WATCHED_KINDS), self.rng.random() < 0.8
        everybody = self.rng.random() < 0.4
        patience = self.rng.choice([1, 1, 2, 5])
        loop = asyncio.get_running_loop()
        fired = asyncio.Event()
        seen = 0

        def trap(sender: str, receiver: str, said: str) -> bool:
            nonlocal seen
            seen += said == kind
            if seen < patience:
                return False
            victims = self.hosts if everybody else [host for host in self.hosts if host.name == sender]
            self.trace.fault(f"{sender} has sent {kind} to {receiver}")
            # Not inside the sender's own call, but before anything else happens.
            for host in victims:
                loop.call_soon(functools.partial(host.crash, power=power), context=_WORLD)
            fired.set()
            return True

        self._traps.append(trap)
        await asyncio.wait([asyncio.ensure_future(fired.wait())], timeout=self.rng.uniform(0.5, 3.0))
        if trap in self._traps:
            self._traps.remove(trap)
        await asyncio.sleep(0.01)
        await self.restart([host for host in self.hosts if not host.running])

    async def _cut_at_election(self) -> None:
        """When a replica asks for votes, it and some others are cut off; messages come twice."""
        fired = asyncio.Event()
        network = self.network

        def trap(sender: str, receiver: str, said: str) -> bool:
            if said != "vote":
                return False
            part = {sender, receiver, *self.rng.sample(sorted(self.names), self.rng.choice([0, 0, 1]))}
            network.heal()
            network.weather = Weather(duplication=0.9)
            network.isolate(part, self.names)
            self.trace.fault(f"split off {sorted(part)}, as {sender} asked for votes")
            fired.set()
            return True

        self._traps.append(trap)
        leader = self.leader()
        network.holding = False
        if leader is not None:
            network.isolate({leader.name}, self.names)
            self.trace.fault(f"cut {leader.name} to see an election")
        await asyncio.wait([asyncio.ensure_future(fired.wait())], timeout=3.0)
        if trap in self._traps:
            self._traps.remove(trap)
        await self.heal()
        network.weather = Weather()

    async def _slow_election(self) -> None:
        """Nobody's disk is done with a vote before the next election is due."""
        slowest = self.rng.choice([0.3, 0.8, 1.5])
        for host in self.hosts:
            host.volume.sync_seconds = (0.05, slowest)
        leader = self.leader()
        self.trace.fault(f"disks take up to {slowest} s, {leader and leader.name} is struck")
        if leader is not None:
            if self.rng.random() < 0.5:
                leader.crash(power=self.rng.random() < 0.5)
            else:
                self.network.isolate({leader.name}, self.names)
        await asyncio.sleep(self.rng.uniform(1.5, 4.0))
        for host in self.hosts:
            host.volume.sync_seconds = SLOW_SYNC_SECONDS[0]
        self.network.heal()
        await self.restart(self.hosts)

    def _elected(self, host: Host) -> None:
        if asyncio.get_running_loop().time() < self._hunted:
            asyncio.get_running_loop().call_later(
                self.rng.choice([0.0, 0.005, 0.02, 0.1]) * self.rng.random(), self._strike, host, context=_WORLD
            )

    def _strike(self, host: Host) -> None:
        if asyncio.get_running_loop().time() >= self._hunted:
            return
        if self.rng.random() < 0.5:
            host.crash(power=self.rng.random() < 0.5)
        else:
            self.network.heal()
            friends = {host.name, *(self.rng.sample(sorted(self.names), 1) if self.rng.random() < 0.4 else [])}
            self.network.isolate(friends, self.names)
            self.trace.fault(f"split off {sorted(friends)}, as {host.name} was elected")

    async def _hunt_leaders(self) -> None:
        """Whoever is elected is struck soon afterwards; those struck before come back."""
        self._hunted = asyncio.get_running_loop().time() + self.rng.uniform(3.0, 8.0)
        while asyncio.get_running_loop().time() < self._hunted:
            await asyncio.sleep(self.rng.uniform(0.2, 1.5))
            for host in self.hosts:
                if not host.running and self.rng.random() < 0.6:
                    host.start()
        self.network.heal()
        self.trace.fault("heal")

    async def _stale_leader(self) -> None:
        """A leader's messages are held back for longer than it leads, then arrive all at once."""
        leader = self.leader()
        if leader is None:
            return
        self.network.holding = True
        self.network.silence_seconds = 60.0
        other = self.rng.choice(self.hosts)
        if self.rng.random() < 0.5 and other is not leader:
            self.network.cut({(other.name, leader.name)})
            await asyncio.sleep(self.rng.uniform(0.0, 0.5))
        self.network.isolate({leader.name}, self.names, inward=self.rng.random() < 0.5)
        self.trace.fault(f"hold {leader.name}'s messages")
        await asyncio.sleep(self.rng.uniform(2.0, 6.0))
        self.trace.fault("heal")
        self.network.heal()
        self.network.silence_seconds = SILENCE_SECONDS

    async def transfer(self, target: str | None = None) -> None:
        """The leader is to hand on its leadership; without ``target``, to anybody."""
        leader = self.leader()
        if leader is None or leader.process is None or leader.group is None:
            return
        group = leader.group
        if target is None:
            target = self.rng.choice([None, *sorted(self.names)])
        self.trace.fault(f"transfer {leader.name} to {target}")

        async def work() -> None:
            try:
                await group.transfer_leadership(target, timeout_seconds=1.0)
            except errors.StoreError as error:
                self.trace.add(f"transfer: {error.code}")

        task = leader.process.spawn(work())
        await asyncio.wait([task], timeout=1.5)
