"""What happens to volumes: full for a while, emptied, or their process dies while a checkpoint is installed on them;
and what happens to the number of replicas meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sim.process import ProcessDied

if TYPE_CHECKING:
    from sim.faults import Faults
    from sim.members import Members
    from sim.region import Host

CUT_BREAKS_SECONDS = 0.3


class VolumeFaults:
    """More kinds of :class:`sim.faults.Faults`."""

    def __init__(self, faults: Faults, members: Members) -> None:
        self._faults = faults
        self._members = members
        self._rng = faults.rng
        self.full = self.emptied = self.died_installing = 0
        self.kinds: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (2, self._full_disks),
            (2, self._emptied_volume),
            (2, self._death_in_installation),
            (2, self._resize),
        ]

    async def _full_disks(self) -> None:
        rng, faults = self._rng, self._faults
        hosts = [host for host in faults.some() if host.volume.room_bytes is None]
        for host in hosts:
            host.volume.room_bytes = rng.choice([0, 50, 500, 3000])
            self.full += 1
        faults.trace.fault(f"full disks {[(host.name, host.volume.room_bytes) for host in hosts]}")
        await asyncio.sleep(rng.uniform(0.3, 3.0))
        for host in hosts:
            host.volume.room_bytes = None
        faults.trace.fault(f"room again {[host.name for host in hosts]}")
        await faults.restart(hosts)

    async def _emptied_volume(self) -> None:
        """A follower loses its volume, perhaps when it was needed for a majority; nothing else is amiss just then.

        A majority of the others must be left, for good: that is all that the group promises to survive.
        """
        rng, faults = self._rng, self._faults
        leader = faults.leader()
        if leader is None or not self._members.settled or len(self._members.wanted) < 3:
            return
        followers = [host for host in faults.hosts if not host.retired and host is not leader]
        victim, *others = rng.sample(followers, len(followers))
        behind = {host.name for host in others[: (len(self._members.wanted) - 1) // 2]}
        if rng.random() < 0.7:
            faults.trace.fault(f"cut {sorted(behind)}")
            faults.network.isolate(behind, faults.names)
            await asyncio.sleep(rng.uniform(0.1, 0.8))
        if not leader.leads or not self._members.settled:
            faults.network.heal()
            return
        victim.crash(power=True)
        victim.empty()
        self.emptied += 1
        if rng.random() < 0.3:
            victim.installs = lambda: self._die(victim)
        faults.network.heal()
        if rng.random() < 0.7:
            faults.trace.fault(f"cut {leader.name}")
            faults.network.isolate({leader.name}, faults.names)
        await faults.restart([victim])
        await asyncio.sleep(rng.uniform(0.5, 3.0))
        faults.network.heal()
        victim.installs = None
        await faults.restart([victim])

    async def _death_in_installation(self) -> None:
        """A follower falls behind; its process dies when the checkpoint that it is sent is to be put in place."""
        rng, faults = self._rng, self._faults
        host = rng.choice(faults.hosts)
        leader = faults.leader()
        if leader is None or host is leader or host.retired:
            return
        faults.trace.fault(f"cut {host.name}, to die when it installs a checkpoint")
        before = faults.network.silence_seconds
        faults.network.silence_seconds = CUT_BREAKS_SECONDS  # for a peer that is connected the leader keeps its log
        faults.network.isolate({host.name}, faults.names)
        faults.network.silence_seconds = before
        host.installs = lambda: self._die(host)
        for _ in range(rng.randint(3, 12)):
            await asyncio.sleep(0.5)
            if leader.journal is None or host.journal is None or leader.journal.first_index > host.journal.last_index:
                break
        faults.network.heal()
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        host.installs = None
        await faults.restart([host])

    def _die(self, host: Host) -> None:
        host.installs = None
        self.died_installing += 1
        host.crash(power=self._rng.random() < 0.7)
        raise ProcessDied

    async def _resize(self) -> None:
        """The region is to have one replica more, or one less."""
        rng, members = self._rng, self._members
        names = sorted(host.name for host in self._faults.hosts)
        missing = [name for name in names if name not in members.wanted]
        if missing and (rng.random() < 0.5 or len(members.wanted) == 1):
            members.wanted = members.wanted | {rng.choice(missing)}
        elif len(members.wanted) > 1:
            members.wanted = members.wanted - {rng.choice(sorted(members.wanted))}
        self._faults.trace.fault(f"{sorted(members.wanted)} are wanted")
        await asyncio.sleep(rng.uniform(0.5, 3.0))
