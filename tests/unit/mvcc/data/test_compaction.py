"""What compaction takes away, what it keeps, and that nobody sees it at work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rstore_api.errors import Compacted, FutureRevision
from rstore_api.proto.rpc_pb2 import RangeRequest
from rstore_api.proto.rstore_pb2 import Compaction, LogEntry
from unit.mvcc.replicas import Replica


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    yield replica
    replica.machine.close()


def rows_held(replica: Replica) -> int:
    store = replica.machine._store
    with store.read() as transaction:
        rows, index = (int(transaction.stat(database)["entries"]) for database in (store.rows, store.index))
    assert rows == index
    return rows


def test_reads_below_are_refused_and_at_it_served(replica: Replica) -> None:
    for number in range(5):
        replica.put(b"k", b"%d" % number)
    assert replica.compact(4) is None
    with pytest.raises(Compacted):
        replica.range(revision=3)
    assert [replica.get(b"k", revision) for revision in (4, 5, 6)] == [b"2", b"3", b"4"]
    with pytest.raises(Compacted):
        replica.machine.rows_after(3, max_bytes=1, max_rows=1)
    assert replica.machine.rows_after(4, max_bytes=1 << 20, max_rows=100).count == 2
    assert isinstance(replica.compact(4), Compacted)
    assert isinstance(replica.compact(7), FutureRevision)
    assert replica.machine.compact_revision == 4


def test_what_is_left_is_what_lives_and_what_came_after(replica: Replica) -> None:
    for number in range(50):
        replica.put(b"k%d" % (number % 5), b"v")
    replica.delete(b"k0")
    replica.compact(replica.machine.revision)
    while replica.machine.compact_step(7):
        pass
    assert rows_held(replica) == 5, "the deletion stays, since a watch may begin there"
    replica.put(b"k0", b"again")
    assert replica.range(b"k0", b"").kvs[0].version == 1
    replica.compact(replica.machine.revision)
    while replica.machine.compact_step(7):
        pass
    assert rows_held(replica) == 5


def test_a_sweep_goes_on_where_a_restart_broke_it_off(replica: Replica) -> None:
    for number in range(300):
        replica.put(b"k", b"%d" % number)
    replica.compact(replica.machine.revision)  # takes a first step, as there is no loop to come back on
    held = rows_held(replica)
    assert held > 10
    replica.machine.compact_step(5)
    assert held - 5 <= rows_held(replica) < held
    replica.reopen()
    while replica.machine.compact_step(5):
        assert replica.get(b"k") == b"299"
    assert rows_held(replica) == 1


def test_a_revision_larger_than_a_step_is_swept_whole(replica: Replica) -> None:
    for number in range(40):
        replica.put(b"k%02d" % number)
    replica.delete(b"k", b"l")
    replica.compact(replica.machine.revision)
    while replica.machine.compact_step(3):
        pass
    assert rows_held(replica) == 40, "the deletions stay, since a watch may begin there"
    replica.put(b"other")
    replica.compact(replica.machine.revision)
    while replica.machine.compact_step(3):
        pass
    assert rows_held(replica) == 1


def test_deletions_that_a_sweep_has_passed_go_with_the_next_compaction(replica: Replica) -> None:
    for number in range(40):
        replica.put(b"k%02d" % number)
    replica.delete(b"k", b"l")
    replica.compact(replica.machine.revision)  # takes a first step, as there is no loop to come back on
    for _ in range(16):
        replica.machine.compact_step(3)
    replica.put(b"other")
    replica.compact(replica.machine.revision)
    while replica.machine.compact_step(3):
        pass
    assert rows_held(replica) == 1


async def test_the_machine_sweeps_by_itself_on_the_loop(replica: Replica) -> None:
    for number in range(2000):
        replica.put(b"k", b"%d" % number)
    entry = LogEntry(compaction=Compaction(revision=replica.machine.revision)).SerializeToString()
    assert replica.machine.apply(replica.machine.applied_index + 1, 1, entry) is None
    assert rows_held(replica) == 2000
    deadline = time.monotonic() + 60
    while rows_held(replica) > 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert replica.machine.range(RangeRequest(key=b"k")).kvs[0].version == 2000


async def test_a_hash_that_compaction_overtakes_is_refused(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rstore_replica.mvcc.requests.hash_kv.CHUNK_KEYS", 1)
    for number in range(10):
        replica.put(b"k%d" % number)
    hashing = asyncio.ensure_future(replica.machine.hash_kv(5))
    await asyncio.sleep(0)
    replica.compact(8)
    with pytest.raises(Compacted):
        await hashing


async def test_a_hash_leaves_time_for_other_things(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rstore_replica.mvcc.requests.hash_kv.CHUNK_KEYS", 2)
    monkeypatch.setattr("rstore_replica.mvcc.requests.hash_kv.PAUSE_SECONDS", 0.01)
    for number in range(10):
        replica.put(b"k%d" % number)
    clock = asyncio.get_running_loop().time
    begun = clock()
    paused = await replica.machine.hash_kv(0)
    assert clock() - begun >= 4 * 0.009
    monkeypatch.setattr("rstore_replica.mvcc.requests.hash_kv.CHUNK_KEYS", 100)
    assert await replica.machine.hash_kv(0) == paused


def test_a_secondary_compacts_with_its_primary_and_hashes_stay_equal(replica: Replica, tmp_path: Path) -> None:
    secondary = Replica(tmp_path / "eu", "eu")
    for number in range(30):
        replica.put(b"k%d" % (number % 4), b"%d" % number)
    secondary.follow(replica)
    replica.compact(20)
    replica.put(b"k")
    batch = replica.batch_after(secondary.machine.revision)
    batch.compact_revision = 9999  # never above what it holds
    assert secondary.receive(batch) == 32
    assert secondary.machine.compact_revision == 32
    assert secondary.hash(32).hash == replica.hash(32).hash
    secondary.machine.close()
