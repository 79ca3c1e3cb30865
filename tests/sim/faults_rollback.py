"""Volumes that go back in time: restored from a snapshot of the disk, after the replica has promised more.

Runs have this kind alone, or not at all: other faults at the same time may take those away that know of the promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.faults import Faults
    from sim.members import Members
    from sim.region import Host

RECOGNISED_SECONDS = 10
PASSED_ON_SECONDS = 0.5
"""More than two heartbeats and the time that they travel."""


class RollbackFaults:
    """One more kind of :class:`sim.faults.Faults`."""

    def __init__(self, faults: Faults, members: Members) -> None:
        self._faults = faults
        self._members = members
        self.rolled_back = 0
        self._under_way = False
        self.kinds: list[tuple[float, Callable[[], Awaitable[None]]]] = [(2, self._rolled_back_volume)]

    async def _rolled_back_volume(self) -> None:
        """One at a time: a replica that was rolled back is one that failed until it has been filled again."""
        if self._under_way:
            return
        self._under_way = True
        try:
            await self._roll_one_back()
        finally:
            self._under_way = False

    async def _roll_one_back(self) -> None:
        """A follower's volume goes back. In a group of five, two others lack what it forgot, and the leader is cut off
        when it returns: with it they would be a majority. One is left that knows what it had promised.
        """
        rng, faults = self._faults.rng, self._faults
        leader = faults.leader()
        if leader is None or not self._members.settled or len(self._members.wanted) < 3:
            return
        followers = [host for host in faults.hosts if not host.retired and host is not leader]
        victim, *others = rng.sample(followers, len(followers))
        victim.crash(power=True)
        victim.save_volume()
        victim.start()
        if not await self._until(lambda: self._members.settled, 5):
            return
        behind = {host.name for host in others[:2]} if len(followers) == 4 else set()
        if behind:
            faults.trace.fault(f"cut {sorted(behind)}")
            faults.network.isolate(behind, faults.names)
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        if not leader.leads or not self._members.settled:
            faults.network.heal()
            return
        victim.crash(power=True)
        # Known is what the leader's next heartbeat passes on, see docs/limits.md.
        await asyncio.sleep(PASSED_ON_SECONDS)
        if not leader.running:
            faults.network.heal()
            victim.start()
            return
        victim.roll_back()
        self.rolled_back += 1
        faults.network.heal()
        if behind:
            faults.trace.fault(f"cut {leader.name}")
            faults.network.isolate({leader.name}, faults.names)
        victim.start()
        await asyncio.sleep(rng.uniform(1.0, 4.0))
        faults.network.heal()
        await self._until(lambda: self._recognised(victim), RECOGNISED_SECONDS)
        await faults.restart([victim])

    def _recognised(self, victim: Host) -> bool:
        return not victim.rolled_back and self._members.settled

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        for _ in range(int(seconds * 10)):
            if condition():
                return True
            await asyncio.sleep(0.1)
        return False
