"""Several regions of real replicas: forwarding, reading locally, and a planned change of primary under load."""

from __future__ import annotations

import asyncio
import signal

import pytest
from integration.replicas.server_processes import RegionProcesses, eventually, topology
from rstore_api.client import Client
from rstore_api.errors import NotPrimary, OutcomeUnknown
from rstore_api.proto import rstore_pb2


async def _reached(region: RegionProcesses, revision: int) -> None:
    for replica in region.replicas:
        async with region.client(replica) as client:
            await eventually(client.status, accept=lambda status: status.header.revision >= revision)


async def _hashes(revision: int, *regions: RegionProcesses) -> set[int]:
    hashes = set()
    for region in regions:
        for replica in region.replicas:
            async with region.client(replica) as client:
                hashes.add((await client.hash_kv(revision)).hash)
    return hashes


async def test_every_replica_of_every_region_serves_reads_and_writes(start_regions) -> None:
    east, west = await start_regions(("us-east", 3), ("eu-west", 2))
    for region in (east, west):
        for replica in region.replicas:
            async with region.client(replica) as client:
                key = f"key-{replica.name}"
                written = await client.put(key, "v")
                # Linearizable: the write is seen wherever it is asked for.
                assert (await client.get(key)).kvs[0].mod_revision == written.header.revision
    await _reached(west, 6)
    for replica in west.replicas:
        async with west.client(replica) as client:
            answer = await client.get_prefix("key-", serializable=True)
            assert answer.count == 5
            assert answer.header.revision == 6
    assert len(await _hashes(6, east, west)) == 1


async def test_secondary_that_may_not_forward_names_the_primary(start_regions) -> None:
    east, west = await start_regions(("us-east", 1), ("eu-west", 1), routing={"forward": False})
    async with east.client() as client:
        revision = (await client.put("k", "v")).header.revision
    await _reached(west, revision)
    async with west.client() as client:
        with pytest.raises(NotPrimary, match=east.replicas[0].client_address):
            await client.put("k", "w")
        with pytest.raises(NotPrimary, match="us-east"):
            await client.get("k")
        assert (await client.get("k", serializable=True)).kvs[0].value == b"v"


async def test_forwarding_survives_the_end_of_the_primarys_leader(start_regions) -> None:
    east, west = await start_regions(("us-east", 3), ("eu-west", 1))
    async with west.client() as client:
        await client.put("k", "1")
        leader = await east.leader()
        await leader.end(signal.SIGKILL)
        await eventually(lambda: client.put("k", "2"))
        assert (await client.get("k")).kvs[0].value == b"2"


@pytest.mark.parametrize("rule", [None, rstore_pb2.SyncRule(min_in_sync_regions=1, timeout_ms=5000)])
async def test_switchover_under_load_loses_and_duplicates_nothing(start_regions, rule) -> None:
    east, west = await start_regions(("us-east", 3), ("eu-west", 3))
    if rule is not None:
        where = topology("us-east", east, west, version=2, sync=rule)
        for region in (east, west):
            await region.set_topology(where)
    acknowledged: dict[str, int] = {}
    unknown: set[str] = set()
    stop = asyncio.Event()

    async def writer(number: int, client: Client) -> None:
        count = 0
        while not stop.is_set():
            key = f"w{number}-{count}"
            count += 1
            try:
                acknowledged[key] = (await client.put(key, key, timeout_seconds=10)).header.revision
            except OutcomeUnknown:
                unknown.add(key)

    async with east.client() as near, west.client() as far:
        writers = [asyncio.create_task(writer(number, (near, far)[number % 2])) for number in range(6)]
        await eventually(_count(acknowledged, 100))
        demoted = await east.demote(2)
        again = await east.demote(2)
        assert again.final_revision == demoted.final_revision
        where = topology("eu-west", east, west, epoch=2, sync=rule)
        promoted = await west.promote(2, demoted.final_revision, where)
        assert promoted.first_revision == demoted.final_revision + 1
        await east.set_topology(where)
        await eventually(_count(acknowledged, len(acknowledged) + 100))
        stop.set()
        await asyncio.gather(*writers)
        answer = await far.get_prefix("w")
    stored = {kv.key.decode(): kv.mod_revision for kv in answer.kvs}
    assert {key: stored.get(key) for key in acknowledged} == acknowledged
    assert set(stored) - set(acknowledged) <= unknown
    assert all(kv.version == 1 for kv in answer.kvs)
    assert unknown == set()
    revision = answer.header.revision
    await _reached(east, revision)
    await _reached(west, revision)
    assert len(await _hashes(revision, east, west)) == 1


def _count(acknowledged: dict[str, int], wanted: int):
    async def probe() -> bool:
        return len(acknowledged) >= wanted

    return probe
