"""Which replicas a region is to have, and the operator's part in bringing that about: add one, take one out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from rstore_api import errors
from rstore_replica.raft import Member
from sim.region import Host
from sim.trace import Trace

PERIOD_SECONDS = 0.3
PATIENCE_SECONDS = 3.0


def member_of(host: Host) -> Member:
    """As the group knows it."""
    return Member(host.name, f"{host.name}:2380")


class Members:
    """Asks whoever leads, again and again, until the members are those that are wanted."""

    def __init__(self, hosts: list[Host], wanted: set[str], trace: Trace) -> None:
        self._hosts = hosts
        self._trace = trace
        self.wanted = wanted
        self.added = self.removed = 0

    @property
    def settled(self) -> bool:
        """Every machine is on, and its log says that exactly those wanted count; nothing else may be under way."""
        there = [host for host in self._hosts if not host.retired]
        return (
            {host.name for host in there} == self.wanted
            and all(host.ready for host in there)
            and all(set(host.voters) == self.wanted and host.counts for host in there)
        )

    async def keep(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            leader = next((host for host in self._hosts if host.leads), None)
            if leader is not None:
                await self._step(leader)

    async def _step(self, leader: Host) -> None:
        missing = [host for host in self._hosts if host.name in self.wanted and host.name not in leader.voters]
        excess = [host for host in self._hosts if host.name not in self.wanted and not host.retired]
        if missing:
            await self._add(leader, missing[0])
        elif excess:
            await self._remove(leader, excess[0])

    async def _add(self, leader: Host, host: Host) -> None:
        if host.retired:
            host.retired = False
            host.members = tuple(member_of(other) for other in self._hosts if not other.retired)
            host.start()
        group = leader.group
        assert group is not None
        if await self._ask(leader, group.change_members(add=member_of(host), timeout_seconds=PATIENCE_SECONDS)):
            self.added += 1

    async def _remove(self, leader: Host, host: Host) -> None:
        group = leader.group
        assert group is not None
        if host is leader:
            await self._ask(leader, group.transfer_leadership(None, timeout_seconds=PATIENCE_SECONDS))
        elif await self._ask(leader, group.change_members(remove=host.name, timeout_seconds=PATIENCE_SECONDS)):
            self.removed += 1
            host.crash(power=False)
            host.empty()
            host.retired = True

    async def _ask(self, leader: Host, work: Coroutine[Any, Any, object]) -> bool:
        """Whether the leader says that it is done."""
        done = False

        async def call() -> None:
            nonlocal done
            try:
                await work
                done = True
            except errors.StoreError as error:
                self._trace.add(f"{leader.name} on its members: {error.code}")

        assert leader.process is not None
        await asyncio.wait([leader.process.spawn(call())], timeout=PATIENCE_SECONDS + 1)
        if done:
            self._trace.fault(f"members are {sorted(self.wanted)}, says {leader.name}")
        return done
