"""A disk without room, on real replicas: a limit on the size of their files, set and lifted while they run."""

from __future__ import annotations

import resource

import pytest
from integration.replicas.server_processes import ReplicaProcess, eventually
from rstore_api.client import Client
from rstore_api.errors import NoSpace, OutcomeUnknown

UNLIMITED = resource.RLIM_INFINITY
LARGEST_FILES = {"log": "raft/journal/*.seg", "data": "mvcc/live/data.mdb"}


def _allow(replica: ReplicaProcess, largest_file_bytes: int) -> None:
    assert replica.process is not None
    resource.prlimit(replica.process.pid, resource.RLIMIT_FSIZE, (largest_file_bytes, UNLIMITED))


def _size(replica: ReplicaProcess, pattern: str) -> int:
    return max(path.stat().st_size for path in (replica.directory / "data").glob(pattern))


async def _fill(client: Client, acknowledged: dict[str, int], *, key: str = "", value_bytes: int) -> None:
    """Writes, to one ``key`` if one is given, until there is no room. Unacknowledged writes may have happened."""
    for number in range(500):
        name = key or f"k{len(acknowledged)}-{number}"
        try:
            acknowledged[name] = (await client.put(name, b"v" * value_bytes, timeout_seconds=2)).header.revision
        except NoSpace:
            return
        except OutcomeUnknown:
            continue
    raise AssertionError("there was always room")


async def _keys(client: Client) -> dict[str, int]:
    answer = await client.get_prefix("k", keys_only=True)
    return {kv.key.decode(): kv.mod_revision for kv in answer.kvs}


@pytest.mark.parametrize("what", LARGEST_FILES)
async def test_a_full_disk_refuses_writes_loses_nothing_and_needs_no_restart(start_regions, what: str) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    acknowledged: dict[str, int] = {}
    async with region.client() as client:
        for number in range(20):
            acknowledged[f"k{number}"] = (await client.put(f"k{number}", b"v" * 2000)).header.revision
        if what == "log":
            # Overwriting and compacting: the log grows, and the data does not.
            for _ in range(150):
                acknowledged["k0"] = (await client.put("k0", b"v" * 4000)).header.revision
                await client.compact(acknowledged["k0"])
        for _ in range(2):
            _allow(replica, _size(replica, LARGEST_FILES[what]) + 40_000)
            if what == "log":
                await _fill(client, acknowledged, key="k0", value_bytes=4000)
            else:
                await _fill(client, acknowledged, value_bytes=2000)
            with pytest.raises(NoSpace):
                await client.delete("k1")
            local = await client.get_prefix("k", keys_only=True, serializable=True)
            assert acknowledged.keys() <= {kv.key.decode() for kv in local.kvs}
            _allow(replica, UNLIMITED)
            acknowledged["kk"] = (await eventually(lambda: client.put("kk", "v"))).header.revision
            assert acknowledged.items() <= (await _keys(client)).items()
        assert replica.process is not None
        assert replica.process.poll() is None
        assert len(replica.logs) == 1, "it was never started again"


async def test_a_follower_with_a_full_disk_holds_nobody_up_and_catches_up(start_regions) -> None:
    [region] = await start_regions(("us-east", 3))
    leader = await region.leader()
    follower = next(replica for replica in region.replicas if replica is not leader)
    async with region.client(leader) as client, region.client(follower) as there:
        await client.put("k", "v")
        _allow(follower, max(_size(follower, pattern) for pattern in LARGEST_FILES.values()) + 20_000)
        for number in range(100):
            newest = (await client.put(f"k{number}", b"v" * 5000)).header.revision

        async def behind() -> int:
            return int((await there.get("k", serializable=True)).header.revision)

        assert await behind() < newest
        _allow(follower, UNLIMITED)
        await eventually(behind, accept=lambda revision: revision >= newest)
        assert (await there.hash_kv(newest)).hash == (await client.hash_kv(newest)).hash
    for replica in region.replicas:
        assert replica.process is not None
        assert replica.process.poll() is None


async def test_a_replica_starts_on_a_full_disk(start_regions) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    async with region.client() as client:
        await client.put("k", "v")
    replica.kill()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(_size(replica, pattern) for pattern in LARGEST_FILES.values())
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 4096, hard))  # inherited
    try:
        replica.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    async with region.client() as client:
        answer = await eventually(lambda: client.get("k", serializable=True))
        assert answer.kvs[0].value == b"v"
        await _fill(client, {}, value_bytes=2000)
        _allow(replica, UNLIMITED)
        await eventually(lambda: client.put("k", "w"))
