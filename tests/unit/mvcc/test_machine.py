"""The state machine as the log sees it: once each, all or nothing, deterministic, bounded by its limits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from rstore_api.errors import Compacted, FutureRevision, InvalidRequest, KeyTooLong, NoSpace, StoreError, TooManyOps
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from rstore_api.proto.rstore_pb2 import LogEntry, Noop, StreamBatch, WriteBatch, WriteLimits, WriteRequest
from rstore_api.rows import Row, pack_batch
from rstore_replica.mvcc.commands import writes as writes_module
from rstore_replica.mvcc.commands.registry import UnknownCommandError
from rstore_replica.mvcc.data import store as store_module
from rstore_replica.mvcc.data.store import StorageFailed
from rstore_replica.mvcc.machine import ApplyBug, Machine
from rstore_replica.mvcc.requests import hash_kv
from unit.mvcc.replicas import Replica, operations


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    yield replica
    replica.machine.close()


def test_an_empty_store_takes_room_as_well(tmp_path: Path) -> None:
    machine = Machine.open(tmp_path / "us", region="us")
    assert 0 < machine.db_in_use_bytes <= machine.db_size_bytes
    machine.close()
    replica = Replica(tmp_path / "other")
    before = replica.machine.db_in_use_bytes
    assert 0 < before <= replica.machine.db_size_bytes
    replica.put(b"key", b"v" * 100_000)
    assert before + 100_000 <= replica.machine.db_in_use_bytes <= replica.machine.db_size_bytes
    replica.machine.close()


def test_an_entry_is_applied_once(replica: Replica) -> None:
    replica.put(b"k", b"1")
    index = replica.machine.applied_index
    assert replica.machine.apply(index, 1, replica.log[-1]) is None
    assert replica.machine.apply(1, 1, replica.log[-1]) is None
    replica.reopen()
    assert replica.machine.apply(index, 1, replica.log[-1]) is None
    assert replica.machine.revision == 2
    assert replica.range(b"k", b"").kvs[0].version == 1


def test_a_log_played_again_gives_the_same_store(replica: Replica, tmp_path: Path) -> None:
    for number in range(30):
        replica.put(b"k%d" % (number % 7), b"v%d" % number)
        if number % 5 == 0:
            replica.delete(b"k1", b"k3")
        if number == 20:
            replica.compact(replica.machine.revision - 4)
    other = Machine.open(tmp_path / "other", region="us")
    for index, entry in enumerate(replica.log, 1):
        other.apply(index, 1, entry)
    assert (other.revision, other.state) == (replica.machine.revision, replica.machine.state)
    assert other.range(RangeRequest(key=b"\0", range_end=b"\0")) == replica.range()
    other.close()


def test_entries_without_a_command_count_as_applied(replica: Replica) -> None:
    assert replica.apply(noop=Noop()) is None
    assert replica.machine.apply(replica.machine.applied_index + 1, 3, b"") is None
    assert isinstance(replica.machine.apply(replica.machine.applied_index + 5, 3, b"\xff\xff"), InvalidRequest)
    assert (replica.machine.applied_index, replica.machine.applied_term) == (8, 3)


def test_a_command_of_a_later_version_stops_the_replica(replica: Replica) -> None:
    unknown_field = b"\xfa\x06\x00"  # field 111, length-delimited, empty
    assert LogEntry.FromString(unknown_field).WhichOneof("command") is None
    with pytest.raises(UnknownCommandError, match="kind 111, which needs a newer version"):
        replica.machine.apply(2, 1, unknown_field)
    assert replica.machine.applied_index == 1


def test_a_bug_in_applying_leaves_nothing_behind(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    replica.put(b"k", b"1")

    def broken(*arguments: Any, **options: Any) -> Any:
        original(*arguments, **options)
        raise ZeroDivisionError

    original = writes_module.execute_all
    monkeypatch.setattr(writes_module, "execute_all", broken)
    with pytest.raises(ApplyBug, match="ZeroDivisionError"):
        replica.put(b"k", b"2")
    monkeypatch.undo()
    assert (replica.machine.applied_index, replica.machine.revision) == (2, 2)
    assert replica.get(b"k") == b"1"
    assert replica.put(b"k", b"3").header.revision == 3


def test_a_disk_that_fails_stops_the_replica_and_skips_nothing(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **_options: Any) -> Any:
        raise lmdb.DiskError("No space left on device")

    monkeypatch.setattr(writes_module, "execute_all", full)
    with pytest.raises(StorageFailed, match="No space left"):
        replica.put(b"k")
    monkeypatch.undo()
    assert replica.machine.applied_index == 1


def test_the_map_grows_when_an_entry_does_not_fit(tmp_path: Path) -> None:
    small = Replica(tmp_path, map_bytes=256 << 10)
    for number in range(40):
        small.put(b"key-%d" % number, bytes([number]) * 50_000)
    assert small.machine.db_size_bytes > 1 << 20
    assert all(small.get(b"key-%d" % number) == bytes([number]) * 50_000 for number in range(40))
    small.reopen()
    assert len(small.range(keys_only=True).kvs) == 40
    small.machine.close()


@pytest.mark.parametrize(("quota_bytes", "expected"), [(1, 1 << 30), (8 << 30, 32 << 30), (1 << 60, 1 << 44)])
def test_the_map_need_not_grow_below_the_quota(tmp_path: Path, quota_bytes: int, expected: int) -> None:
    """A checkpoint that is being made would hold it up, and so the event loop."""
    replica = Replica(tmp_path, quota_bytes=quota_bytes)
    assert replica.machine._store.environment.info()["map_size"] == expected
    replica.machine.close()


def test_the_map_grows_while_a_copy_is_being_made(tmp_path: Path) -> None:
    small = Replica(tmp_path / "small", map_bytes=512 << 10)
    small.put(b"first", b"x" * 200_000)
    copies = [
        threading.Thread(target=small.machine.checkpoint, args=(tmp_path / f"copy-{number}",)) for number in range(4)
    ]
    for copy in copies:
        copy.start()
    for number in range(40):
        small.put(b"key-%d" % number, b"y" * 50_000)
    for copy in copies:
        copy.join(30)
    for number in range(4):
        restored = Replica(tmp_path / f"restored-{number}", bootstrap=None)
        restored.machine.restore(tmp_path / f"copy-{number}")
        assert restored.get(b"first") == b"x" * 200_000
        assert restored.range(count_only=True).count == restored.machine.revision - 1
        restored.machine.close()
    small.machine.close()


def test_reads_in_threads_see_one_state_each(tmp_path: Path) -> None:
    replica = Replica(tmp_path, map_bytes=256 << 10)
    wrong: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.wait(0.001):
            found = replica.range()
            if len({kv.value for kv in found.kvs}) > 1:
                wrong.append(str(found))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(60):
            puts = [PutRequest(key=b"%d" % key, value=b"%d" % number * 500) for key in range(4)]
            replica.write(TxnRequest(success=operations(list(puts))))
    finally:
        stop.set()
        for reader in readers:
            reader.join(10)
    assert not wrong
    replica.machine.close()


def test_above_the_quota_only_deletions_are_done(tmp_path: Path) -> None:
    replica = Replica(tmp_path, quota_bytes=200_000)
    answers = [replica.put(b"k%d" % number, b"x" * 10_000) for number in range(30)]
    assert not isinstance(answers[0], NoSpace)
    assert isinstance(answers[-1], NoSpace)
    revision = replica.machine.revision
    put_in_else = TxnRequest(failure=operations([PutRequest(key=b"k")]))
    inner = TxnRequest(success=operations([put_in_else]))
    assert [type(answer) for answer in replica.write(put_in_else, inner)] == [NoSpace, NoSpace]
    assert replica.machine.revision == revision
    deleted = replica.write(TxnRequest(success=operations([DeleteRangeRequest(key=b"k", range_end=b"l")])))[0]
    assert deleted.responses[0].response_delete_range.deleted > 10
    assert isinstance(replica.put(b"k"), NoSpace)
    replica.compact(replica.machine.revision)
    while replica.machine.compact_step():
        pass
    assert replica.put(b"k").header.revision == revision + 2
    replica.machine.close()


def test_a_disk_that_is_nearly_full_counts_as_above_the_quota(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "FREE_DISK_RESERVE_BYTES", 1 << 62)
    assert isinstance(replica.put(b"k"), NoSpace)
    monkeypatch.undo()
    assert replica.put(b"k").header.revision == 2


def test_the_limits_in_the_entry_decide_and_not_the_replicas_own(tmp_path: Path) -> None:
    strict = Replica(tmp_path / "strict", max_txn_ops=1, quota_bytes=1)
    lax = Replica(tmp_path / "lax", max_txn_ops=50)
    txn = TxnRequest(success=operations([PutRequest(key=b"a"), PutRequest(key=b"b")]))
    for replica in (strict, lax):
        assert replica.write(txn, limits=WriteLimits(max_txn_ops=2))[0].succeeded
        assert isinstance(replica.write(txn, limits=WriteLimits(max_txn_ops=1))[0], TooManyOps)
        assert isinstance(replica.put(b"k", lease=0) if replica is strict else NoSpace(), NoSpace)
        replica.machine.close()


def test_an_entry_of_level_one_puts_no_key_of_more_than_511_bytes(replica: Replica) -> None:
    assert replica.put(b"k" * 511, b"v").header.revision == 2
    put = PutRequest(key=b"k" * 512)
    requests = [WriteRequest(put=put), WriteRequest(txn=TxnRequest(success=operations([put])))]
    for answer in replica.apply(write=WriteBatch(epoch=1, requests=requests, limits=replica.machine.write_limits())):
        assert isinstance(answer, KeyTooLong)
        assert "512 bytes, the limit is 511" in str(answer)
    assert (replica.machine.revision, replica.machine.state.feature_level) == (2, 1)
    assert replica.get(b"k" * 511) == b"v"
    assert replica.get(b"k" * 600) is None
    assert replica.range(b"k" * 600, b"\0").count == 0
    assert replica.range(b"k", b"k" * 600).count == 1
    assert replica.delete(b"k" * 600).deleted == 0


def test_subscribers_hear_of_new_revisions_and_states_only(replica: Replica) -> None:
    revisions: list[int] = []
    epochs: list[int] = []

    def failing(_: int) -> None:
        raise RuntimeError("a subscriber's own problem")

    replica.machine.subscribe(failing)
    stop = replica.machine.subscribe(revisions.append)
    replica.machine.subscribe_state(lambda state: epochs.append(state.promised_epoch))
    replica.put(b"k")
    replica.delete(b"nothing")
    replica.apply(noop=Noop())
    replica.write(PutRequest(key=b"a"), PutRequest(key=b"b"))
    replica.promise(3)
    replica.promise(2)
    stop()
    stop()
    replica.put(b"k")
    assert revisions == [2, 4]
    assert epochs == [3]


def test_the_hash_is_of_the_keys_at_a_revision(replica: Replica, tmp_path: Path) -> None:
    replica.put(b"a", b"1")
    then = replica.hash()
    replica.put(b"b", b"2")
    replica.delete(b"b")
    assert replica.hash(2) == then
    assert replica.hash().hash == then.hash
    assert replica.hash().hash_revision == 4
    replica.put(b"a", b"1")
    assert replica.hash().hash != then.hash
    with pytest.raises(FutureRevision):
        replica.hash(6)
    replica.compact(5)
    with pytest.raises(Compacted):
        replica.hash(4)


def test_a_hash_of_many_chunks_is_that_of_one(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        replica.put(b"key-%d" % number, b"v" * number)
    whole = replica.hash()
    monkeypatch.setattr(hash_kv, "CHUNK_KEYS", 1)
    assert replica.hash() == whole
    monkeypatch.setattr(hash_kv, "CHUNK_KEYS", 1000)
    monkeypatch.setattr(hash_kv, "CHUNK_BYTES", 10)
    assert replica.hash() == whole


@pytest.mark.parametrize(
    "other",
    [
        [("k", "2", 0)],  # value
        [("j", "1", 0)],  # key
        [("x", "", 0), ("k", "1", 0)],  # create and mod revision (and another key)
        [("k", "", 0), ("k", "1", 0)],  # mod revision and version
    ],
)
def test_the_hash_sees_every_field(tmp_path: Path, other: list[tuple[str, str, int]]) -> None:
    one, two = Replica(tmp_path / "one"), Replica(tmp_path / "two")
    one.put(b"k", b"1")
    for key, value, _ in other:
        two.put(key.encode(), value.encode())
    assert one.hash().hash != two.hash().hash
    for replica in (one, two):
        replica.machine.close()


def test_the_hash_sees_version_and_create_revision_by_themselves(tmp_path: Path) -> None:
    hashes = set()
    for number, body in enumerate([(5, 1, 0), (5, 2, 0), (4, 2, 0), (4, 2, 7)]):
        created, version, lease = body
        replica = Replica(tmp_path / str(number), "eu")
        batch = StreamBatch(epoch=1, prev_revision=1, last_revision=5, row_count=1)
        batch.history.add(epoch=1, first_revision=5, region="us", parent_revision=1)
        batch.rows = pack_batch([Row(5, 0, b"k", b"v", created, version, lease)])
        assert replica.receive(batch) == 5
        hashes.add(replica.hash().hash)
        replica.machine.close()
    assert len(hashes) == 4


def test_a_range_in_a_txn_reads_what_the_same_entry_wrote_before(replica: Replica) -> None:
    answers = replica.write(
        PutRequest(key=b"k", value=b"2"),
        PutRequest(key=b"k", value=b"3"),
        TxnRequest(
            success=operations(
                [RangeRequest(key=b"k", revision=2), RangeRequest(key=b"k"), RangeRequest(key=b"k", revision=3)]
            )
        ),
    )
    assert [found.response_range.kvs[0].value for found in answers[2].responses] == [b"2", b"3", b"3"]
    assert answers[2].header.revision == 3


@pytest.mark.parametrize(("revision", "error"), [(9, FutureRevision), (2, Compacted)])
def test_a_txn_with_a_range_that_cannot_be_read_changes_nothing(
    replica: Replica, revision: int, error: type[StoreError]
) -> None:
    for _ in range(3):
        replica.put(b"k", b"before")
    replica.compact(4)
    inner = TxnRequest(success=operations([RangeRequest(key=b"k", revision=revision)]))
    for requests in ([PutRequest(key=b"k", value=b"after"), inner.success[0].request_range], [inner]):
        answer = replica.txn(then=[PutRequest(key=b"l"), *requests])
        assert isinstance(answer, error)
    assert replica.machine.revision == 4
    assert replica.get(b"k") == b"before"
    assert replica.get(b"l") is None
