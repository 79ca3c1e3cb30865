"""A snapshot of an etcd fills a store: with the same keys, versions, revisions and leases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from etcd.etcd_process import is_installed
from etcd.servers import Server, running_etcd, running_store
from etcd.test_snapshot import everything, save, write_at_random
from rstore_api import methods
from rstore_api.client import Client
from rstore_api.client.import_parts import parts
from rstore_api.client.importing import compare, fill
from rstore_api.errors import InvalidRequest
from rstore_api.etcd_files.bolt_reader import DamagedDatabase
from rstore_api.etcd_files.latest import EtcdSnapshot
from rstore_api.proto import rpc_pb2 as rpc

pytestmark = pytest.mark.skipif(not is_installed(), reason="etcd is not installed in this environment")


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """Of an etcd with keys, some compacted, and two leases."""
    with running_etcd(tmp_path) as etcd:
        write_at_random(etcd, 7, 200)
        etcd.compact(etcd.revision - 50)
        for lease in (1, 0x7FFFFFFFFFFFFFFF):
            answer = etcd.call(methods.LEASE_GRANT, rpc.LeaseGrantRequest(ID=lease, TTL=600))
            assert answer.code == "OK"
        put = rpc.PutRequest(key=b"attached", value=b"x", lease=1)
        assert etcd.call(methods.PUT, put).code == "OK"
        write_at_random(etcd, 8, 20)
        (tmp_path / "all").write_bytes(b"".join(everything(etcd, 0)))
        save(etcd, tmp_path / "snapshot.db")
    return tmp_path / "snapshot.db"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with running_store(tmp_path / "store") as server:
        yield server


def client_of(store: Server) -> Client:
    assert store.files is not None
    return Client([store.address.removeprefix("https://")], tls=store.files.read(), server_name="localhost")


@pytest.mark.parametrize("jump", [0, 1000])
async def test_a_store_has_what_the_etcd_had(tmp_path: Path, snapshot: Path, store: Server, jump: int):
    done: list[int] = []
    with EtcdSnapshot(snapshot) as read:
        async with client_of(store) as client:
            revision = await fill(client, read, revision_jump=jump, timeout_seconds=20, advance=done.append)
            assert revision == read.revision + jump
            assert sum(done) == len(read)
            assert await compare(client, read, revision, timeout_seconds=20, advance=lambda _keys: None) is None
            assert b"".join(everything(store, 0)) == (tmp_path / "all").read_bytes()
            assert store.put(b"attached") == revision + 1
            difference = await compare(client, read, 0, timeout_seconds=20, advance=lambda _keys: None)
            assert difference is not None
            assert difference.key == b"attached"
            with pytest.raises(InvalidRequest, match="nothing was written"):
                await fill(client, read, revision_jump=0, timeout_seconds=20, advance=done.append)
        answer = store.call(methods.LEASE_LEASES, rpc.LeaseLeasesRequest())
        assert {lease.ID for lease in answer.message.leases} == {1, 0x7FFFFFFFFFFFFFFF}
        answer = store.call(methods.LEASE_TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=1, keys=True))
        assert answer.message.grantedTTL == 600
        assert 500 < answer.message.TTL <= 600
        assert list(answer.message.keys) == []  # it was put without the lease
        gone = store.call(methods.RANGE, rpc.RangeRequest(key=b"a", revision=revision - 1))
        assert gone.code == "OUT_OF_RANGE"


async def test_parts_are_taken_again(tmp_path: Path, snapshot: Path, store: Server):
    """As where the answer to one was lost, or the tool was killed and is started again."""
    with EtcdSnapshot(snapshot) as read:
        async with client_of(store) as client:
            sent = list(parts(read, max_bytes=2000))
            assert len(sent) > 5
            for _ in range(2):
                after = b""
                for part in sent[:5]:
                    part.after_key = after
                    for _ in range(2):
                        answer = await client.call(methods.IMPORT_STEP, part, timeout_seconds=20)
                    after = answer.last_key
            assert store.revision == 1
            assert everything(store, 0) == []
            await fill(client, read, revision_jump=0, timeout_seconds=20, advance=lambda _keys: None)
            assert b"".join(everything(store, 0)) == (tmp_path / "all").read_bytes()


def test_a_snapshot_that_was_cut_or_changed_is_refused(tmp_path: Path, snapshot: Path):
    data = snapshot.read_bytes()
    for number, (damaged, text) in enumerate(
        [
            (data[:-1], "does not end with a hash"),
            (data[:-32], "does not end with a hash"),
            (data[:20_000] + b"x" + data[20_001:], "it was damaged"),
            (data[:4096], "are more than the file's"),
            (b"", "0 bytes"),
        ]
    ):
        path = tmp_path / str(number)
        path.write_bytes(damaged)
        with pytest.raises(DamagedDatabase, match=text):
            EtcdSnapshot(path)
