"""What goes wrong in a run: faults by the seed, up to three at a time, many of them where it hurts most."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable

from rstore_api import errors
from sim.network import Network, Weather
from sim.region import Host
from sim.trace import Trace

SILENCE_SECONDS = 3.0
SLOW_SYNC_SECONDS = [(0.0005, 0.004), (0.01, 0.05), (0.05, 0.4), (0.0005, 1.2)]
WATCHED_KINDS = ["append", "append_reply", "vote", "vote_reply", "timeout_now", "round_reply", "snapshot_reply"]

Fault = Callable[[], Awaitable[None]]

_WORLD = contextvars.Context()
"""Of no process: what is scheduled in it happens whoever dies."""


class Faults:
    """Each fault is a coroutine that makes something go wrong, waits, and undoes it."""

    def __init__(self, hosts: list[Host], network: Network, rng: random.Random, trace: Trace) -> None:
        self._hosts = hosts
        self._network = network
        self._rng = rng
        self._trace = trace
        self._names = {host.name for host in hosts}
        self._traps: list[Callable[[str, str, str], bool]] = []
        self._hunted = 0.0
        network.on_send.append(self._sent)
        for host in hosts:
            host.on_elected = self._elected
        self._kinds: list[tuple[float, Fault]] = [
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
            (2, self._transfer),
            (1, self._stale_leader),
            (2, self._slow_election),
            (2, self._kill_unsynced),
        ]

    async def run(self, seconds: float, concurrent: int) -> None:
        """Faults one after the other, in ``concurrent`` rows at a time."""
        rows = [asyncio.ensure_future(self._row()) for _ in range(concurrent)]
        await asyncio.sleep(seconds)
        for row in rows:
            row.cancel()
        for row in await asyncio.gather(*rows, return_exceptions=True):
            if isinstance(row, Exception):
                raise row

    async def _row(self) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(0.0, 0.5))
            fault = self._rng.choices([kind for _, kind in self._kinds], [weight for weight, _ in self._kinds])[0]
            await fault()

    def end(self) -> None:
        """Everything works again."""
        self._traps.clear()
        self._hunted = 0.0
        self._network.weather = Weather()
        self._network.holding = False
        self._network.silence_seconds = SILENCE_SECONDS
        self._network.heal()
        for host in self._hosts:
            host.volume.sync_seconds = SLOW_SYNC_SECONDS[0]
            if host.disk is not None:
                host.disk.fuse = None
            if host.stopping:
                host.crash(power=False)
            if not host.running:
                host.start()

    # ------------------------------------------------------------------ machines

    def _leader(self) -> Host | None:
        leading = [host for host in self._hosts if host.leads]
        return self._rng.choice(leading) if leading else None

    def _some(self) -> list[Host]:
        """Running hosts: one, the leader, a majority, or all."""
        running = [host for host in self._hosts if host.running and not host.stopping]
        if not running:
            return []
        draw = self._rng.random()
        leader = self._leader()
        if draw < 0.35 and leader is not None:
            return [leader]
        if draw < 0.6:
            return [self._rng.choice(running)]
        if draw < 0.8:
            return self._rng.sample(running, min(len(running), len(self._hosts) // 2 + 1))
        return running

    async def _down(self, hosts: list[Host], *, power: bool) -> None:
        for host in hosts:
            host.crash(power=power)
        await self._restart(hosts)

    async def _restart(self, hosts: list[Host]) -> None:
        longest = self._rng.choice([0.05, 0.5, 3.0])
        for host in hosts:
            await asyncio.sleep(self._rng.uniform(0.0, longest) / len(hosts))
            if not host.running:
                host.start()

    async def _power_off(self) -> None:
        await self._down(self._some(), power=True)

    async def _kill(self) -> None:
        await self._down(self._some(), power=False)

    async def _stop(self) -> None:
        hosts = self._some()[:1]
        for host in hosts:
            await host.stop()
        await self._restart(hosts)

    async def _kill_unsynced(self) -> None:
        """Processes are killed, and are back at once, before their disks were done with what they had written."""
        for host in self._hosts:
            host.volume.sync_seconds = (0.5, 1.5)
        self._trace.fault("disks take up to 1.5 s")
        await asyncio.sleep(self._rng.uniform(0.05, 0.4))
        leader = self._leader()
        for host in self._hosts:
            if host is not leader or self._rng.random() < 0.2:
                host.crash(power=False)
        await asyncio.sleep(0.01)
        await self._restart(self._hosts)
        await asyncio.sleep(self._rng.uniform(0.2, 0.6))
        for host in self._hosts:
            host.volume.sync_seconds = SLOW_SYNC_SECONDS[0]

    async def _die_in_disk_operation(self) -> None:
        hosts = self._some()
        for host in hosts:
            if host.disk is not None:
                host.disk.fuse = self._rng.choice([0, 1, 2, 5, 10, 40])
        await asyncio.sleep(self._rng.uniform(0.1, 1.0))
        for host in hosts:
            if host.disk is not None:
                host.disk.fuse = None
        await self._restart(hosts)

    async def _slow_disks(self) -> None:
        hosts = self._rng.sample(self._hosts, self._rng.randint(1, len(self._hosts)))
        for host in hosts:
            host.volume.sync_seconds = self._rng.choice(SLOW_SYNC_SECONDS)
        self._trace.fault(f"slow disks {[(host.name, host.volume.sync_seconds) for host in hosts]}")
        await asyncio.sleep(self._rng.uniform(0.5, 4.0))
        for host in hosts:
            host.volume.sync_seconds = SLOW_SYNC_SECONDS[0]

    # ------------------------------------------------------------------ network

    async def _cut(self) -> None:
        """One replica, often the leader, is cut off: both ways or one."""
        host = self._leader() if self._rng.random() < 0.6 else None
        name = (host or self._rng.choice(self._hosts)).name
        outward, inward = self._rng.choice([(True, True), (True, True), (True, False), (False, True)])
        self._network.holding = self._rng.random() < 0.5
        self._trace.fault(f"cut {name} out={outward} in={inward} holding={self._network.holding}")
        self._network.isolate({name}, self._names, outward=outward, inward=inward)
        await self._heal()

    async def _split(self) -> None:
        """Two halves; or only some pairs do not reach each other."""
        if self._rng.random() < 0.6:
            part = set(self._rng.sample(sorted(self._names), self._rng.randint(1, max(1, len(self._names) // 2))))
            self._trace.fault(f"split off {sorted(part)}")
            self._network.isolate(part, self._names)
        else:
            pairs = [(a, b) for a in sorted(self._names) for b in sorted(self._names) if a != b]
            chosen = set(self._rng.sample(pairs, len(pairs) // 3))
            self._trace.fault(f"cut pairs {sorted(chosen)}")
            self._network.cut(chosen)
        await self._heal()

    async def _heal(self) -> None:
        await asyncio.sleep(self._rng.choice([0.2, 1.0, 2.5, 5.0]) * self._rng.uniform(0.5, 1.0))
        self._trace.fault("heal")
        self._network.heal()

    async def _weather(self) -> None:
        self._network.weather = Weather(
            delay_seconds=self._rng.choice([(0.0005, 0.005), (0.001, 0.05), (0.01, 0.3)]),
            loss=self._rng.choice([0.0, 0.02, 0.2]),
            duplication=self._rng.choice([0.0, 0.1, 0.5]),
            reorder=self._rng.choice([0.0, 0.1, 0.5]),
        )
        self._trace.fault(f"{self._network.weather}")
        await asyncio.sleep(self._rng.uniform(0.5, 4.0))
        self._network.weather = Weather()

    # ------------------------------------------------------------------ where it hurts

    def _sent(self, sender: str, receiver: str, kind: str) -> None:
        self._traps = [trap for trap in self._traps if not trap(sender, receiver, kind)]

    async def _die_after_sending(self) -> None:
        """The moment a replica has said something, its machine (or all of them) loses power or its process dies."""
        kind, power = self._rng.choice(WATCHED_KINDS), self._rng.random() < 0.8
        everybody = self._rng.random() < 0.4
        patience = self._rng.choice([1, 1, 2, 5])
        loop = asyncio.get_running_loop()
        fired = asyncio.Event()
        seen = 0

        def trap(sender: str, receiver: str, said: str) -> bool:
            nonlocal seen
            seen += said == kind
            if seen < patience:
                return False
            victims = self._hosts if everybody else [host for host in self._hosts if host.name == sender]
            self._trace.fault(f"{sender} has sent {kind} to {receiver}")
            # Not inside the sender's own call, but before anything else happens.
            loop.call_soon(lambda: [host.crash(power=power) for host in victims], context=_WORLD)
            fired.set()
            return True

        self._traps.append(trap)
        await asyncio.wait([asyncio.ensure_future(fired.wait())], timeout=self._rng.uniform(0.5, 3.0))
        if trap in self._traps:
            self._traps.remove(trap)
        await asyncio.sleep(0.01)
        await self._restart([host for host in self._hosts if not host.running])

    async def _cut_at_election(self) -> None:
        """When a replica asks for votes, it and some others are cut off; messages come twice."""
        fired = asyncio.Event()
        network = self._network

        def trap(sender: str, receiver: str, said: str) -> bool:
            if said != "vote":
                return False
            part = {sender, receiver, *self._rng.sample(sorted(self._names), self._rng.choice([0, 0, 1]))}
            network.heal()
            network.weather = Weather(duplication=0.9)
            network.isolate(part, self._names)
            self._trace.fault(f"split off {sorted(part)}, as {sender} asked for votes")
            fired.set()
            return True

        self._traps.append(trap)
        leader = self._leader()
        network.holding = False
        if leader is not None:
            network.isolate({leader.name}, self._names)
            self._trace.fault(f"cut {leader.name} to see an election")
        await asyncio.wait([asyncio.ensure_future(fired.wait())], timeout=3.0)
        if trap in self._traps:
            self._traps.remove(trap)
        await self._heal()
        network.weather = Weather()

    async def _slow_election(self) -> None:
        """Nobody's disk is done with a vote before the next election is due."""
        slowest = self._rng.choice([0.3, 0.8, 1.5])
        for host in self._hosts:
            host.volume.sync_seconds = (0.05, slowest)
        leader = self._leader()
        self._trace.fault(f"disks take up to {slowest} s, {leader and leader.name} is struck")
        if leader is not None:
            if self._rng.random() < 0.5:
                leader.crash(power=self._rng.random() < 0.5)
            else:
                self._network.isolate({leader.name}, self._names)
        await asyncio.sleep(self._rng.uniform(1.5, 4.0))
        for host in self._hosts:
            host.volume.sync_seconds = SLOW_SYNC_SECONDS[0]
        self._network.heal()
        await self._restart(self._hosts)

    def _elected(self, host: Host) -> None:
        if asyncio.get_running_loop().time() < self._hunted:
            asyncio.get_running_loop().call_later(
                self._rng.choice([0.0, 0.005, 0.02, 0.1]) * self._rng.random(), self._strike, host, context=_WORLD
            )

    def _strike(self, host: Host) -> None:
        if asyncio.get_running_loop().time() >= self._hunted:
            return
        if self._rng.random() < 0.5:
            host.crash(power=self._rng.random() < 0.5)
        else:
            self._network.heal()
            friends = {host.name, *(self._rng.sample(sorted(self._names), 1) if self._rng.random() < 0.4 else [])}
            self._network.isolate(friends, self._names)
            self._trace.fault(f"split off {sorted(friends)}, as {host.name} was elected")

    async def _hunt_leaders(self) -> None:
        """Whoever is elected is struck soon afterwards; those struck before come back."""
        self._hunted = asyncio.get_running_loop().time() + self._rng.uniform(3.0, 8.0)
        while asyncio.get_running_loop().time() < self._hunted:
            await asyncio.sleep(self._rng.uniform(0.2, 1.5))
            for host in self._hosts:
                if not host.running and self._rng.random() < 0.6:
                    host.start()
        self._network.heal()
        self._trace.fault("heal")

    async def _stale_leader(self) -> None:
        """A leader's messages are held back for longer than it leads, then arrive all at once."""
        leader = self._leader()
        if leader is None:
            return
        self._network.holding = True
        self._network.silence_seconds = 60.0
        other = self._rng.choice(self._hosts)
        if self._rng.random() < 0.5 and other is not leader:
            self._network.cut({(other.name, leader.name)})
            await asyncio.sleep(self._rng.uniform(0.0, 0.5))
        self._network.isolate({leader.name}, self._names, inward=self._rng.random() < 0.5)
        self._trace.fault(f"hold {leader.name}'s messages")
        await asyncio.sleep(self._rng.uniform(2.0, 6.0))
        self._trace.fault("heal")
        self._network.heal()
        self._network.silence_seconds = SILENCE_SECONDS

    async def _transfer(self) -> None:
        leader = self._leader()
        if leader is None or leader.process is None or leader.group is None:
            return
        group = leader.group
        target = self._rng.choice([None, *sorted(self._names)])
        self._trace.fault(f"transfer {leader.name} to {target}")

        async def work() -> None:
            try:
                await group.transfer_leadership(target, timeout_seconds=1.0)
            except errors.StoreError as error:
                self._trace.add(f"transfer: {error.code}")

        task = leader.process.spawn(work())
        await asyncio.wait([task], timeout=1.5)
