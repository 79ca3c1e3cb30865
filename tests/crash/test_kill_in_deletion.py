"""All replicas of a region are killed while they delete many keys: all of them are there, or none."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses, bootstrap, eventually
from rstore_api.client import Client
from rstore_api.errors import StoreError

KEYS = 30_000
ROUNDS = 4
SECONDS_PER_ROUND = 60


async def _count(client: Client, *, serializable: bool = False) -> int:
    return (await client.get_prefix("k", serializable=serializable, limit=1, keys_only=True)).count


async def _delete(client: Client) -> int | None:
    """Returns how many keys were deleted; None where that is unknown."""
    try:
        return (await client.delete("k", prefix=True, timeout_seconds=SECONDS_PER_ROUND)).deleted
    except StoreError:
        return None


@pytest.mark.timeout(120 + ROUNDS * SECONDS_PER_ROUND)
async def test_all_keys_of_a_range_are_deleted_or_none(tmp_path: Path) -> None:
    region = RegionProcesses(tmp_path, Authority.make(), region="us-east", replicas=3)
    rng = random.Random(3)
    region.start()
    try:
        await bootstrap(region)
        async with region.client() as client:
            seen = [await _delete_and_kill(region, client, rng) for _ in range(ROUNDS)]
            print(f"keys left after each round: {seen}")
            assert await client.delete("k", prefix=True, timeout_seconds=SECONDS_PER_ROUND)
        hashes = set()
        for replica in region.replicas:
            async with region.client(replica) as own:
                await eventually(lambda own=own: _count(own, serializable=True), accept=lambda count: count == 0)
                found = await own.hash_kv()
                hashes.add((found.hash, found.hash_revision))
        assert len(hashes) == 1, hashes
    finally:
        region.stop()


async def _delete_and_kill(region: RegionProcesses, client: Client, rng: random.Random) -> int:
    """Kills all replicas some time after a deletion began; returns how many keys there are afterwards."""
    await client.put_many(((f"k{number:06d}", b"v" * 32) for number in range(KEYS)), ops_per_txn=128, concurrency=4)
    deleting = asyncio.create_task(_delete(client))
    async with region.client(region.replicas[0]) as own:
        wait, began = rng.uniform(0.0, 0.25), asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + wait:
            assert await _count(own, serializable=True) in (0, KEYS)
    for replica in region.replicas:
        replica.kill()
    for replica in region.replicas:
        replica.start()
    deleted = await deleting
    assert deleted in (None, KEYS)
    left = await eventually(lambda: _count(client), accept=lambda _: True, timeout_seconds=SECONDS_PER_ROUND)
    assert left in ((0, KEYS) if deleted is None else (0,))
    return left
