"""Volumes that go back in time: restored from a snapshot of the disk, after the replica has promised more.

Runs have this kind alone, or not at all: other faults at the same time may take those away that know of the promise.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from sim.network import Network
from sim.trace import Trace

RECOGNISED_SECONDS = 10
PASSED_ON_SECONDS = 0.5
"""More than two heartbeats and the time that they travel."""


class Machine(Protocol):
    """A machine whose volume can be saved, and be what was saved."""

    name: str
    rolled_back: bool

    @property
    def running(self) -> bool:
        """Whether a process is there."""

    @property
    def leads(self) -> bool:
        """Whether it believes to lead its group."""

    def start(self) -> None:
        """Begins a process."""

    def crash(self, *, power: bool) -> None:
        """Ends it; with ``power`` the machine too."""

    def save_volume(self) -> None:
        """Takes a snapshot of the disk."""

    def roll_back(self) -> None:
        """Puts the snapshot in the disk's place."""


class Replicas(Protocol):
    """A group of replicas on such machines."""

    @property
    def machines(self) -> Sequence[Machine]:
        """Those that are to have a replica."""

    @property
    def network(self) -> Network:
        """Between them."""

    @property
    def settled(self) -> bool:
        """Whether all are there, and all count."""


class RollbackFaults:
    """Kinds of faults of one region's or of all regions' machines."""

    def __init__(self, rng: random.Random, trace: Trace, some_replicas: Callable[[], Replicas | None]) -> None:
        """``some_replicas`` draws a group; None while there is none that has so many replicas."""
        self._rng = rng
        self._trace = trace
        self._some_replicas = some_replicas
        self.rolled_back = 0
        self._under_way = False
        self.kinds: list[tuple[float, Callable[[], Awaitable[None]]]] = [(2, self._rolled_back_volume)]

    async def _rolled_back_volume(self) -> None:
        """One at a time: a replica that was rolled back is one that failed until it has been filled again."""
        replicas = self._some_replicas()
        if self._under_way or replicas is None:
            return
        self._under_way = True
        try:
            await self._roll_one_back(replicas)
        finally:
            self._under_way = False

    async def _roll_one_back(self, replicas: Replicas) -> None:
        """A follower's volume goes back. In a group of five, two others lack what it forgot, and the leader is cut off
        when it returns: with it they would be a majority. One is left that knows what it had promised.
        """
        rng, network = self._rng, replicas.network
        leader = next((machine for machine in replicas.machines if machine.leads), None)
        if leader is None or not replicas.settled or len(replicas.machines) < 3:
            return
        names = {machine.name for machine in replicas.machines}
        followers = [machine for machine in replicas.machines if machine is not leader]
        victim, *others = rng.sample(followers, len(followers))
        victim.crash(power=True)
        victim.save_volume()
        victim.start()
        if not await self._until(lambda: replicas.settled, 5):
            return
        behind = {machine.name for machine in others[:2]} if len(followers) == 4 else set()
        if behind:
            self._trace.fault(f"cut {sorted(behind)}")
            network.isolate(behind, names)
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        if not leader.leads or not replicas.settled:
            network.heal()
            return
        victim.crash(power=True)
        # Known is what the leader's next heartbeat passes on, see docs/limits.md.
        await asyncio.sleep(PASSED_ON_SECONDS)
        if not leader.running:
            network.heal()
            victim.start()
            return
        victim.roll_back()
        self.rolled_back += 1
        network.heal()
        if behind:
            self._trace.fault(f"cut {leader.name}")
            network.isolate({leader.name}, names)
        victim.start()
        await asyncio.sleep(rng.uniform(1.0, 4.0))
        network.heal()
        await self._until(lambda: not victim.rolled_back and replicas.settled, RECOGNISED_SECONDS)
        if not victim.running:
            victim.start()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        for _ in range(int(seconds * 10)):
            if condition():
                return True
            await asyncio.sleep(0.1)
        return False
