"""Watches on real replicas: our client across changes of leader and of primary, and what SemiSync shows."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from integration.replicas.moves import fail_over, switch_over
from integration.replicas.server_processes import eventually
from integration.replicas.test_semi_sync_served import _hanging, _set_rule
from rstore_api.client import Client
from rstore_api.errors import Compacted, OutcomeUnknown

WATCHERS = int(os.environ.get("RSTORE_WATCHERS", "1000"))
WRITES = int(os.environ.get("RSTORE_WATCHED_WRITES", "1000"))
PARTS = 10
CLIENTS = 20


@dataclass
class Seen:
    """What a watcher was shown: keys and revisions, in order."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    changes: list[tuple[int, bytes]] = field(default_factory=list)

    async def follow(self, client: Client, prefix: str, start_revision: int = 0) -> None:
        async with aclosing(client.watch(prefix, prefix=True, start_revision=start_revision)) as items:
            async for changes in items:
                self.began.set()
                self.changes += [(event.kv.mod_revision, event.kv.key) for event in changes.events]


@asynccontextmanager
async def watching(clients: list[Client], prefixes: list[str]) -> AsyncIterator[list[Seen]]:
    """One watcher of each prefix, which all have begun."""
    seen = [Seen() for _ in prefixes]
    tasks = [
        asyncio.create_task(one.follow(clients[at % len(clients)], prefix))
        for at, (one, prefix) in enumerate(zip(seen, prefixes, strict=True))
    ]
    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(one.began.wait() for one in seen))
        yield seen
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_every_replica_of_every_region_shows_every_change(start_regions) -> None:
    east, west = await start_regions(("us-east", 3), ("eu-west", 1))
    clients = [region.client(replica) for region in (east, west) for replica in region.replicas]
    async with watching(clients, ["w/"] * 4) as seen:
        expected = [((await clients[0].put(f"w/{at}", "v")).header.revision, b"w/%d" % at) for at in range(20)]
        await clients[0].put("other", "v")
        for one in seen:
            await eventually(lambda one=one: _length(one), accept=lambda count: count >= 20)
            assert one.changes == expected
    for client in clients:
        await client.close()


async def _length(seen: Seen) -> int:
    return len(seen.changes)


async def test_followers_and_leader_show_in_semi_sync_what_is_confirmed(start_regions) -> None:
    regions = await start_regions(("us-east", 3), ("eu-west", 1))
    east, west = regions
    await _set_rule(regions, 2, min_in_sync_regions=1, timeout_ms=1500)
    clients = [east.client(replica) for replica in east.replicas]
    async with watching(clients, ["w/"] * 3) as seen:
        first = (await clients[0].put("w/1", "v", timeout_seconds=10)).header.revision
        for one in seen:
            await eventually(lambda one=one: _length(one))
        with _hanging(west), pytest.raises(OutcomeUnknown):
            await clients[0].put("w/2", "v", timeout_seconds=10)
        async with east.client() as client:
            second = (await eventually(lambda: client.get("w/2"), accept=lambda answer: answer.count == 1)).kvs[0]
        for one in seen:
            await eventually(lambda one=one: _length(one), accept=lambda count: count >= 2)
            assert one.changes == [(first, b"w/1"), (second.mod_revision, b"w/2")]
        with _hanging(west):
            write = asyncio.create_task(clients[0].put("w/3", "v", timeout_seconds=10))
            await eventually(lambda: clients[0].get("w/3", serializable=True), accept=lambda answer: answer.count == 1)
            await asyncio.gather(*(client.get("w/3", serializable=True) for client in clients))
            assert [len(one.changes) for one in seen] == [2, 2, 2], "it might be lost in a failover"
            with pytest.raises(OutcomeUnknown):
                await write
    for client in clients:
        await client.close()


async def test_a_watch_that_begins_before_what_is_kept_ends_with_the_revision_that_is(start_regions) -> None:
    (east,) = await start_regions(("us-east", 1))
    async with east.client() as client:
        for at in range(10):
            last = (await client.put("k", str(at))).header.revision
        await client.compact(last - 2)
        seen = Seen()
        with pytest.raises(Compacted) as caught:
            await seen.follow(client, "k", start_revision=2)
        assert caught.value.compact_revision == last - 2
        async with aclosing(client.watch("k", start_revision=last - 2, prev_kv=True)) as items:
            began, changes = await anext(items), await anext(items)
        assert began.revision == last - 3
        assert [event.kv.value for event in changes.events] == [b"7", b"8", b"9"]
        assert [event.prev_kv.value for event in changes.events] == [b"", b"7", b"8"]


@pytest.mark.timeout(400)
async def test_many_watchers_are_shown_all_writes_through_every_change(start_regions) -> None:
    """A change of leader, a switchover, and a failover that loses nothing. Each watcher follows a part of the keys."""
    east, west, south = await start_regions(("us-east", 3), ("eu-west", 1), ("ap-south", 1))
    writer = Client([one.client_address for one in (*east.replicas, *west.replicas)], tls=east.client_files)
    watched = [one.client_address for one in (*west.replicas, *east.replicas)]
    clients = [Client(watched[at % 4 :] + watched[: at % 4], tls=east.client_files) for at in range(CLIENTS)]
    written: list[tuple[int, bytes]] = []

    async def write(count: int) -> None:
        for _ in range(count):
            key = f"w/{len(written) % PARTS}/{len(written)}"
            answer = await writer.put(key, "v", retry_unknown=True, timeout_seconds=30)
            written.append((answer.header.revision, key.encode()))

    async with watching(clients, [f"w/{at % PARTS}/" for at in range(WATCHERS)]) as seen:
        await write(WRITES // 4)
        leader = await east.leader()
        await leader.end(signal.SIGKILL)
        await write(WRITES // 4)
        leader.start()
        await switch_over(east, west, south, epoch=2)
        await write(WRITES // 4)
        await fail_over(west, east, south, epoch=3)
        await write(WRITES - len(written))
        parts = [[change for change in written if change[1].startswith(b"w/%d/" % part)] for part in range(PARTS)]
        for at, one in enumerate(seen):
            expected = parts[at % PARTS]
            await eventually(
                lambda one=one: _length(one),
                accept=lambda count, expected=expected: count >= len(expected),
            )
            assert one.changes == expected
    for client in (*clients, writer):
        await client.close()
