"""One region in the simulated world whose links, machines and disks a test steers itself; see :func:`steer`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto import rstore_pb2
from rstore_replica.api.batcher import BatchLimits
from rstore_replica.raft import Group, Member, RaftConfig
from rstore_replica.raft.membership import Membership
from sim.oracle import agree
from sim.region import Host, RegionProfile, bootstrap_entry, make_hosts
from sim.world import World, simulate

T = TypeVar("T")

CONFIG = RaftConfig(
    append_batch_entries=3,
    append_window_messages=4,
    append_batch_bytes=400,
    segment_bytes=5000,
    tail_cache_bytes=1000,
)
SLICE_SECONDS = 0.005


class Steered:
    """What a test's script is given. The oracle watches all the while."""

    def __init__(self, world: World, root: Path, size: int, spare: int, script: Script) -> None:
        profile = RegionProfile(size=size, raft=CONFIG, batch=BatchLimits(), aside_seconds=(0.001, 0.02))
        names = [f"n{number}" for number in range(size + spare)]
        self.hosts, self.oracle = make_hosts(world, root, names, profile, world.violated)
        self.network = world.network
        self._script = script

    async def run(self) -> None:
        await self._script(self)

    def close(self) -> None:
        for host in self.hosts:
            host.close()

    # ------------------------------------------------------------------ who there is

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def start(self, *names: str) -> None:
        """These, or all that are no spare."""
        for host in self.hosts:
            if host.name in names or (not names and not host.retired and not host.running):
                host.retired = False
                host.start()

    def leader(self) -> Host | None:
        """Of the highest term."""
        leading = (host for host in self.hosts if host.leads)
        return max(leading, key=lambda host: group_of(host).status().term, default=None)

    async def led(self) -> Host:
        """A leader that has committed in its term."""

        def there() -> bool:
            leader = self.leader()
            if leader is None or leader.journal is None:
                return False
            status = group_of(leader).status()
            return leader.journal.term_at(status.commit_index) == status.term

        assert await self.until(there, 30), "no leader"
        leader = self.leader()
        assert leader is not None
        return leader

    async def begun(self) -> Host:
        """All are started and the region takes writes; its leader."""
        self.start()
        leader = await self.led()
        await in_process(leader, lambda: group_of(leader).propose(bootstrap_entry(), timeout_seconds=5))
        return leader

    def others(self, *hosts: Host) -> list[Host]:
        """Those running besides."""
        return [host for host in self.hosts if host.running and host not in hosts]

    # ------------------------------------------------------------------ what happens

    async def until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Lets time pass until it holds; whether it did so within that time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not condition():
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(SLICE_SECONDS)
        return True

    def isolate(self, *hosts: Host) -> None:
        """Nothing else is cut off any more."""
        self.network.heal()
        self.network.isolate({host.name for host in hosts}, {host.name for host in self.hosts})

    async def put(self, key: bytes, at: Host | None = None) -> int:
        """Its revision once it is acknowledged."""
        host = at or await self.led()
        assert host.batcher is not None
        batcher = host.batcher
        request = rstore_pb2.WriteRequest(put=rpc.PutRequest(key=key, value=b"."))
        deadline = asyncio.get_running_loop().time() + 10
        response = await in_process(host, lambda: batcher.submit(request, rpc.PutResponse, deadline=deadline))
        return int(response.header.revision)

    async def change(self, *, add: str | None = None, remove: str | None = None) -> None:
        """Of the members; raises what the leader answers."""
        leader = await self.led()
        member = Member(add, f"{add}:2380") if add is not None else None
        await in_process(leader, lambda: group_of(leader).change_members(add=member, remove=remove, timeout_seconds=20))

    # ------------------------------------------------------------------ what holds

    def members(self) -> Membership:
        """As the leader has them; nobody while there is none."""
        leader = self.leader()
        latest = None if leader is None or leader.journal is None else leader.journal.memberships.latest
        return latest or Membership()

    def voting(self, *names: str) -> bool:
        """These and nobody else belong to the group, and have a vote as who they are, by what is committed."""
        leader, found = self.leader(), self.members()
        return (
            leader is not None
            and found.index <= group_of(leader).status().commit_index
            and set(found.names) == set(found.voters) == set(names)
            and all(self[name].counts for name in names if self[name].running)
        )

    def agreed(self) -> bool:
        """All are on, follow one leader and have applied all of the same log."""
        statuses = [group_of(host).status() for host in self.hosts if host.ready]
        return len(statuses) == sum(not host.retired for host in self.hosts) and all(
            agree(values)
            for values in (
                [status.leader for status in statuses],
                [value for status in statuses for value in (status.last_index, status.applied_index)],
            )
        )

    def holds(self, host: Host, key: bytes) -> bool:
        """Whether its state machine does."""
        return host.machine is not None and host.machine.range(rpc.RangeRequest(key=key)).count == 1


Script = Callable[[Steered], Awaitable[None]]


def group_of(host: Host) -> Group:
    """Its Raft group; it is running."""
    assert host.group is not None
    return host.group


async def in_process(host: Host, work: Callable[[], Awaitable[T]]) -> T:
    """Done by the host's process."""

    async def call() -> T:
        return await work()

    assert host.process is not None
    result: T = await host.process.spawn(call())
    return result


def steer(script: Script, *, size: int = 3, spare: int = 0, seed: int = 1) -> None:
    """Runs the script on virtual time in a world of its own; fails when it does or when the oracle objects."""
    report = simulate(seed, "steered", lambda world, root: Steered(world, root, size, spare, script))
    assert report.violation is None, "\n" + report.text()
