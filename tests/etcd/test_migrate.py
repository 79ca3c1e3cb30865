"""A running etcd is copied into a store, which follows it, whatever breaks off, until both are the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from etcd.etcd_process import is_installed
from etcd.servers import Server, running_etcd, running_store
from rstore_api import methods
from rstore_api.client import Client
from rstore_api.client.migrating import Migration, MigrationError
from rstore_api.errors import StoreError
from rstore_api.etcd_files.latest import EtcdSnapshot
from rstore_api.proto import rpc_pb2 as rpc

pytestmark = pytest.mark.skipif(not is_installed(), reason="etcd is not installed in this environment")


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "source").mkdir()
    with running_etcd(tmp_path / "source") as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with running_store(tmp_path / "store") as server:
        yield server


def client_of(server: Server) -> Client:
    address = server.address.removeprefix("https://").removeprefix("http://")
    if server.files is None:
        return Client([address])
    return Client([address], tls=server.files.read(), server_name="localhost")


def key_of(number: int) -> bytes:
    """Returns one of the keys; one in ten is longer than a key of the database may be."""
    key = b"key/%03d" % number
    return key + b"." * (500 + number) if number % 10 == 5 else key


async def write(client: Client, seed: int, revisions: int) -> None:
    """Puts, deletions and transactions, some with leases that are granted on the way."""
    draw = random.Random(seed)
    leases: list[int] = []
    for number in range(revisions):
        key = key_of(draw.randrange(300))
        kind = draw.random()
        if kind < 0.05:
            granted = await client.call(
                methods.LEASE_GRANT, rpc.LeaseGrantRequest(TTL=3600, ID=seed << 20 | number + 1), timeout_seconds=10
            )
            leases.append(granted.ID)
        elif kind < 0.08 and leases:
            lease = leases.pop(draw.randrange(len(leases)))
            await client.call(methods.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease), timeout_seconds=10)
        elif kind < 0.2:
            await client.delete(key, prefix=draw.random() < 0.3)
        elif kind < 0.4:
            puts = [
                rpc.RequestOp(request_put=rpc.PutRequest(key=key_of(one), value=draw.randbytes(30)))
                for one in draw.sample(range(300), draw.choice([2, 100, 128]))
            ]
            await client.txn(rpc.TxnRequest(success=puts))
        else:
            lease = draw.choice(leases) if leases and draw.random() < 0.5 else 0
            await client.put(key, draw.randbytes(draw.choice([1, 100, 3000])), lease=lease)


async def begin(migration: Migration, directory: Path) -> None:
    path = directory / "snapshot.db"
    await migration.save_snapshot(path, lambda _bytes: None)
    with EtcdSnapshot(path) as snapshot:
        await migration.begin(snapshot, revision_jump=1000, advance=lambda _keys: None)


async def catch_up(migration: Migration) -> int:
    """Follows until the store has what is the etcd's newest by then."""
    async with asyncio.timeout(60), aclosing(migration.follow()) as reached:
        async for revision in reached:
            if revision >= await migration.newest():
                return revision
    raise AssertionError("following ended")


@pytest.mark.parametrize("seed", range(3))
async def test_a_store_follows_an_etcd_and_is_the_same(etcd: Server, store: Server, tmp_path: Path, seed: int):
    async with client_of(etcd) as source, client_of(store) as target:
        await write(source, 100 + seed, 100)
        migration = Migration(source, target)
        assert not await migration.find()
        await begin(migration, tmp_path)
        writing = asyncio.create_task(write(source, 200 + seed, 400))
        draw = random.Random(seed)
        for _ in range(5):
            # The tool is stopped somewhere, and started again.
            following = asyncio.ensure_future(catch_up(migration))
            await asyncio.wait([following], timeout=draw.random())
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            migration = Migration(source, target)
            assert await migration.find()
        await writing
        await migration.freeze(frozen=True)
        with pytest.raises(StoreError, match="database space exceeded"):
            await source.put(b"key/late", b"x")
        revision = await catch_up(migration)
        assert await migration.first_difference(revision, lambda _keys: None) is None
        await migration.finish()
        kept = {lease.ID for lease in store.call(methods.LEASE_LEASES, rpc.LeaseLeasesRequest()).message.leases}
        wanted = {lease.ID for lease in etcd.call(methods.LEASE_LEASES, rpc.LeaseLeasesRequest()).message.leases}
        with_keys = {
            lease for lease in wanted
            if etcd.call(methods.LEASE_TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=lease, keys=True)).message.keys
        }  # fmt: skip
        assert with_keys <= kept <= wanted
        await migration.freeze(frozen=False)
        await source.put(b"key/late", b"x")
        assert await migration.first_difference(0, lambda _keys: None) == b"key/late"


async def test_a_store_with_data_is_not_filled(etcd: Server, store: Server, tmp_path: Path):
    async with client_of(etcd) as source, client_of(store) as target:
        await target.put(b"a", b"x")
        migration = Migration(source, target)
        assert not await migration.find()
        with pytest.raises(StoreError, match="nothing was written"):
            await begin(migration, tmp_path)


async def test_two_at_once_make_each_change_once(etcd: Server, store: Server, tmp_path: Path):
    async with client_of(etcd) as source, client_of(store) as target:
        first, second = Migration(source, target), Migration(source, target)
        await begin(first, tmp_path)
        await second.find()
        for number in range(1, 11):
            await source.put(b"a", b"%d" % number)
            results = await asyncio.gather(catch_up(first), catch_up(second), return_exceptions=True)
            refused = [result for result in results if isinstance(result, BaseException)]
            assert all(isinstance(error, MigrationError) for error in refused), refused
            assert len(refused) < 2
            (kv,) = (await target.range(rpc.RangeRequest(key=b"a"), timeout_seconds=10)).kvs
            assert (kv.value, kv.version) == (b"%d" % number, number)


async def test_a_switch_ends_only_with_both_the_same(etcd: Server, store: Server, tmp_path: Path):
    async with client_of(etcd) as source, client_of(store) as target:
        await write(source, 9, 50)
        migration = Migration(source, target)
        await begin(migration, tmp_path)
        await target.put(b"written by another", b"x")
        with pytest.raises(MigrationError, match="differ in b'written by another'"):
            await migration.switch(lambda _revision: None, lambda _keys: None)
        await source.put(b"key/taken again", b"x")
        await target.delete(b"written by another")
        again = Migration(source, target)
        assert await again.find()
        async with asyncio.timeout(60):
            revision = await again.switch(lambda _revision: None, lambda _keys: None)
        assert revision == await again.newest()
        assert not await Migration(source, target).find()
        with pytest.raises(StoreError, match="database space exceeded"):
            await source.put(b"key/late", b"x")
