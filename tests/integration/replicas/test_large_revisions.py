"""A revision of any size reaches every replica of every region, and watchers there, as a whole."""

from __future__ import annotations

import contextlib

import pytest
from integration.replicas.server_processes import RegionProcesses, eventually
from rstore_api.client import Client
from rstore_api.errors import RequestTooWide

ROWS, ROW_BYTES = 10_000, (4 << 20) // 10_000
KEY_BYTES = ROW_BYTES - 44
"""Ten thousand deletions of keys this long are as many rows, and as many bytes, as a write that is applied at once may
have.
"""


def _key(number: int) -> bytes:
    return b"k%05d" % number + b"." * (KEY_BYTES - 6)


async def _deleted_everywhere(*regions: RegionProcesses) -> None:
    for region in regions:
        for replica in region.replicas:
            async with region.client(replica) as client:

                async def left(client: Client = client) -> int:
                    return (await client.get_prefix("k", serializable=True, limit=1, keys_only=True)).count

                await eventually(left, accept=lambda count: count == 0)


async def test_the_largest_deletion_reaches_every_replica_of_every_region(start_regions) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 3))
    async with east.client() as client:
        await client.put_many(((_key(number), b"") for number in range(ROWS)), ops_per_txn=128, concurrency=4)
        one_more = await client.put("kk", "v")
        async with west.client() as there:  # handed on to the primary region, and back
            answer = await there.get_prefix("k", timeout_seconds=20)
            assert (answer.count, len(answer.kvs)) == (ROWS + 1, ROWS + 1)
            assert answer.header.revision == one_more.header.revision
        with pytest.raises(RequestTooWide, match="in parts"):
            await client.delete("k", prefix=True, prev_kv=True, timeout_seconds=20)
        assert (await client.get_prefix("k", keys_only=True, limit=1)).header.revision == one_more.header.revision
        async with west.client() as there, contextlib.aclosing(there.watch("k", prefix=True)) as changes:
            await anext(changes)
            deleted = await client.delete("k", prefix=True)
            assert (deleted.deleted, deleted.header.revision) == (ROWS + 1, one_more.header.revision + 1)
            seen = await anext(changes)
            assert {event.kv.mod_revision for event in seen.events} == {deleted.header.revision}
            assert len(seen.events) == ROWS + 1  # all together
        after = await client.put("after", "v")
    await _deleted_everywhere(east, west)
    async with west.client() as client:
        await eventually(client.status, accept=lambda status: status.header.revision == after.header.revision)
