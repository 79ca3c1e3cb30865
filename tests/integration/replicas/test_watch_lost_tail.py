"""Many watchers in every region, through a failover that loses what the old primary had acknowledged last.

Each watcher follows a part of the keys and is shown all that the store's history has of it, once and in order. One that
was shown what was lost is told so: its watch ends as compacted, before it is shown anything of what came instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from integration.replicas.moves import switch_over
from integration.replicas.server_processes import RegionProcesses, ReplicaProcess, eventually, topology
from integration.replicas.test_watch import CLIENTS, PARTS, WATCHERS, WRITES
from rstore_api.client import Client
from rstore_api.errors import Compacted, StoreError
from rstore_api.proto import rstore_pb2

JUMP = 10**9
LOST_OF_A_PART = 3
RAFT = {"electionTimeoutMinMs": 1000, "electionTimeoutMaxMs": 2000, "heartbeatMs": 100}
TENURE_MS = 15_000
"""Within that time the primary must take what will be lost; the next primary waits for its end."""
PATIENCE_SECONDS = 120.0
Change = tuple[int, bytes]
"""The revision, and the key that was put."""


@dataclass
class Watcher:
    """One watch, begun anew from the revision that is kept where it ends as compacted; what it was shown, in order."""

    region: str
    """The only one that it asks; "" for one that goes from replica to replica of all regions."""
    part: int
    shown: list[Change] = field(default_factory=list)
    ended_after: list[int] = field(default_factory=list)
    """How many changes it had been shown whenever it ended as compacted."""
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, client: Client, start_revision: int = 0) -> None:
        while True:
            try:
                watched = client.watch(f"w/{self.part}/", prefix=True, start_revision=start_revision)
                async with aclosing(watched) as items:
                    async for changes in items:
                        self.began.set()
                        self.shown += [(event.kv.mod_revision, event.kv.key) for event in changes.events]
            except Compacted as error:
                self.ended_after.append(len(self.shown))
                start_revision = error.compact_revision


class Writer:
    """Writes one key after the other, each in the part that is next."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.written: list[Change] = []

    async def write(self, count: int) -> None:
        for _ in range(count):
            key = f"w/{len(self.written) % PARTS}/{len(self.written)}"
            answer = await self._client.put(key, "v", retry_unknown=True, timeout_seconds=PATIENCE_SECONDS)
            self.written.append((answer.header.revision, key.encode()))


def of_part(changes: list[Change], part: int) -> list[Change]:
    return [change for change in changes if change[1].startswith(b"w/%d/" % part)]


@asynccontextmanager
async def watching(regions: list[RegionProcesses]) -> AsyncIterator[list[Watcher]]:
    """A quarter of the watchers asks the replicas of each of three regions, the last one those of all regions."""
    choices = [(region.region, region.replicas) for region in regions]
    choices.append(("", [replica for region in regions for replica in region.replicas]))
    watchers: list[Watcher] = []
    tasks: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:
        for number in range(CLIENTS):
            region, replicas = choices[number % len(choices)]
            addresses = [replica.client_address for replica in _rotated(replicas, number, first=3)]
            client = await stack.enter_async_context(Client(addresses, tls=regions[0].client_files))
            for at in range(number, WATCHERS, CLIENTS):
                watchers.append(Watcher(region, at // CLIENTS % PARTS))
                tasks.append(asyncio.create_task(watchers[-1].follow(client)))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*(watcher.began.wait() for watcher in watchers))
            yield watchers
            for task in tasks:
                assert not task.done(), task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _rotated(replicas: list[ReplicaProcess], by: int, *, first: int) -> list[ReplicaProcess]:
    """Another order of the first few, which belong to one region."""
    head, rest = replicas[:first], replicas[first:]
    by %= len(head)
    return [*head[by:], *head[:by], *rest]


async def are_shown(watchers: list[Watcher], change_counts: list[int]) -> None:
    """Returns once each watcher was shown so many changes of its part."""

    async def missing() -> list[Watcher]:
        return [watcher for watcher in watchers if len(watcher.shown) < change_counts[watcher.part]]

    await eventually(missing, accept=lambda behind: not behind, timeout_seconds=PATIENCE_SECONDS)


async def write_what_is_lost(east: RegionProcesses, others: list[RegionProcesses], newest: int) -> list[Change]:
    """The others have everything up to ``newest``; what the primary applies now they never receive."""
    for region in others:
        async with region.client() as client:
            await eventually(client.status, accept=lambda status: status.header.revision >= newest)
    async with east.client(await east.leader()) as client:
        await client.get("w/")  # it is connected
        for region in others:
            region.stop()

        async def put(number: int) -> None:
            with contextlib.suppress(StoreError):
                await client.put(f"w/{number % PARTS}/lost-{number}", "v", timeout_seconds=30)

        await asyncio.gather(*(put(number) for number in range(PARTS * LOST_OF_A_PART)))
        rows = (await client.get_prefix("w/", serializable=True)).kvs
    return sorted((row.mod_revision, row.key) for row in rows if row.mod_revision > newest)


async def fail_over(newest: int, target: RegionProcesses, lost: RegionProcesses, other: RegionProcesses) -> None:
    """The target becomes primary while one replica of the lost region is dead and the others hang."""
    killed, *hanging = lost.replicas
    await killed.end(signal.SIGKILL)
    for replica in hanging:
        assert replica.process is not None
        replica.process.send_signal(signal.SIGSTOP)
    for region in (target, other):
        region.start()
    where = topology(target.region, target, lost, other, epoch=3)

    async def promoted() -> rstore_pb2.PromoteResponse:
        return await target.promote(3, newest, where, revision_jump=JUMP)

    await eventually(promoted)
    await other.set_topology(where)


def come_back(region: RegionProcesses) -> None:
    killed, *hanging = region.replicas
    for replica in hanging:
        assert replica.process is not None
        replica.process.send_signal(signal.SIGCONT)
    killed.start()


@pytest.mark.timeout(600)
async def test_watchers_are_shown_the_history_that_survives_and_those_who_saw_more_are_told(start_regions) -> None:
    west, east, south = regions = await start_regions(
        ("eu-west", 1), ("us-east", 3), ("ap-south", 1), failover={"leaseDurationMs": TENURE_MS}, raft=RAFT
    )
    async with (
        Client([one.client_address for region in regions for one in region.replicas], tls=west.client_files) as client,
        watching([east, west, south]) as watchers,
    ):
        writer = Writer(client)
        await writer.write(WRITES // 4)
        await switch_over(west, east, south, epoch=2)
        await writer.write(WRITES // 4)
        leader = await east.leader()
        await leader.end(signal.SIGKILL)
        await writer.write(WRITES // 4)
        leader.start()
        before = list(writer.written)
        newest = before[-1][0]
        lost = await write_what_is_lost(east, [west, south], newest)
        assert all(of_part(lost, part) for part in range(PARTS)), lost
        in_east = [watcher for watcher in watchers if watcher.region == east.region]
        await are_shown(in_east, [len(of_part(before + lost, part)) for part in range(PARTS)])
        await fail_over(newest, west, east, south)
        await writer.write(WRITES // 8)
        come_back(east)
        await writer.write(WRITES - len(writer.written))
        after = writer.written[len(before) :]
        assert after[0][0] >= newest + JUMP
        last = {part: of_part(after, part)[-1] for part in range(PARTS)}

        async def behind() -> list[Watcher]:
            return [watcher for watcher in watchers if watcher.shown[-1:] != [last[watcher.part]]]

        await eventually(behind, accept=lambda some: not some, timeout_seconds=PATIENCE_SECONDS)
        for watcher in watchers:
            ours, theirs = of_part(before, watcher.part), of_part(lost, watcher.part)
            count = len(watcher.shown) - len(ours) - len(of_part(after, watcher.part))
            assert watcher.shown == [*ours, *theirs[:count], *of_part(after, watcher.part)], watcher
            assert watcher.ended_after == ([len(ours) + count] if count else []), watcher
            if watcher.region:
                assert count == (len(theirs) if watcher.region == east.region else 0), watcher
        for replica in east.replicas:
            await _shows_nothing_of_what_was_lost(east, replica, before, lost, after)


async def _shows_nothing_of_what_was_lost(
    region: RegionProcesses, replica: ReplicaProcess, before: list[Change], lost: list[Change], after: list[Change]
) -> None:
    """Watches that begin now at a replica that had shown what was lost."""
    async with region.client(replica) as client:
        for first, expected in ((before[0][0], before + after), (lost[0][0], after), (after[0][0], after)):
            assert await _shown_from(client, first, len(expected)) == expected
        for revision, _ in lost:
            with pytest.raises(Compacted) as caught:
                await _shown_from(client, revision + 1, 1)
            assert caught.value.compact_revision == after[0][0]


async def _shown_from(client: Client, revision: int, count: int) -> list[Change]:
    """What a watch is shown that begins at the revision, until it is so many changes at least."""
    shown: list[Change] = []
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        aclosing(client.watch("w/", prefix=True, start_revision=revision)) as items,
    ):
        while len(shown) < count:
            shown += [(event.kv.mod_revision, event.kv.key) for event in (await anext(items)).events]
    return shown
