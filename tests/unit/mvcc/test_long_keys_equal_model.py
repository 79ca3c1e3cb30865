"""Keys of every length, with shared beginnings of every length, are what they are in a model, at every revision."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from rstore_api.errors import RequestTooWide
from rstore_api.proto.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    ResponseHeader,
    TxnRequest,
)
from rstore_api.proto.rstore_pb2 import WriteBatch, WriteLimits, WriteRequest
from sim.model import Model
from unit.mvcc.replicas import Replica, operations
from unit.mvcc.tails.regions import follow, leave, promote
from unit.mvcc.transfer.transfers import chunks, install, step_of

LENGTHS = (1, 2, 3, 469, 470, 471, 479, 480, 481, 509, 510, 511, 512, 513, 939, 940, 941, 1000, 1410, 100_000)
ALL = (b"\0", b"\0")


def key_of(chance: random.Random) -> bytes:
    """A key that shares much or all of another one's beginning."""
    fill = chance.choice((b"\0", b"a", b"\xff"))
    length = chance.choice(LENGTHS)
    key = bytearray(fill * length)
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        key[chance.choice((0, length // 2, length - 1, min(length - 1, chance.choice(LENGTHS))))] = chance.choice(
            b"\0\1ab\xff"
        )
    return bytes(key)


def point_of(chance: random.Random, keys: list[bytes]) -> bytes:
    """A key, or what is right before or behind one, or begins one."""
    key = chance.choice(keys)
    kind = chance.randrange(6)
    if kind == 0:
        return key + b"\0"
    if kind == 1:
        return key[: chance.randrange(len(key)) + 1]
    if kind == 2:
        return key[:-1] + bytes((min(key[-1] + 1, 255),))
    if kind == 3:
        return key_of(chance)
    return key


def span_of(chance: random.Random, keys: list[bytes]) -> tuple[bytes, bytes]:
    kind = chance.randrange(5)
    start = point_of(chance, keys)
    if kind == 0:
        return ALL
    if kind == 1:
        return start, b"\0"
    if kind == 2:  # its prefix
        whole = start.rstrip(b"\xff")
        return start, whole[:-1] + bytes((whole[-1] + 1,)) if whole else b"\0"
    return start, point_of(chance, keys)


def encoded(replica: Replica, request: RangeRequest) -> RangeResponse:
    """As a client gets a range: with counts that are remembered."""
    response = RangeResponse.FromString(replica.machine.encoded_range(request, ResponseHeader()))
    response.ClearField("header")
    return response


def compare_reads(replica: Replica, model: Model, chance: random.Random, keys: list[bytes], *, count: int) -> None:
    oldest = max(model.compact_revision, replica.machine.compact_revision)
    revisions = [revision for revision in model.items if revision >= oldest]
    for _ in range(count):
        revision = chance.choice(revisions)
        key, range_end = span_of(chance, keys)
        request = RangeRequest(
            key=key,
            range_end=b"" if chance.random() < 0.2 else range_end,
            revision=revision if chance.random() < 0.7 else 0,
            limit=chance.choice((0, 0, 1, 2, 3, 7)),
            keys_only=chance.random() < 0.5,
            count_only=chance.random() < 0.2,
            sort_order=chance.choice((0, 0, 0, 2)),  # type: ignore[arg-type]
            sort_target=0,  # type: ignore[arg-type]
        )
        if not request.revision and replica.machine.revision != model.revision:
            request.revision = revision
        expected = model.range(request)
        assert replica.machine.range(request) == expected
        if request.range_end:
            assert encoded(replica, request) == expected


def compare_all(replica: Replica, model: Model) -> None:
    oldest = max(model.compact_revision, replica.machine.compact_revision)
    for revision, items in model.items.items():
        if revision < oldest or revision > replica.machine.revision:
            continue
        expected = [(key, *item[:4]) for key, item in sorted(items.items())]
        kvs = replica.range(revision=revision).kvs
        assert [(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version) for kv in kvs] == expected
        assert pages(replica, revision) == [kv.key for kv in kvs]


def pages(replica: Replica, revision: int) -> list[bytes]:
    """All keys, read as a client does that pages."""
    keys: list[bytes] = []
    start = b"\0"
    while True:
        page = encoded(replica, RangeRequest(key=start, range_end=b"\0", revision=revision, limit=3, keys_only=True))
        keys += [kv.key for kv in page.kvs]
        assert page.count >= len(page.kvs)
        if not page.more:
            return keys
        start = keys[-1] + b"\0"


def index_entries(replica: Replica) -> int:
    store = replica.machine._store
    with store.read() as transaction:
        return sum(int(transaction.stat(database)["entries"]) for database in store.tables)


@pytest.fixture(params=range(12))
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Replica]]:
    opened = [
        Replica(tmp_path / "us", deletion_step_keys=3, slice_keys=3),
        Replica(tmp_path / "eu", "eu", deletion_step_keys=50),
        Replica(tmp_path / "ap", "ap"),
    ]
    yield opened
    for replica in opened:
        replica.machine.close()


def test_random_steps_equal_the_model(replicas: list[Replica], chance: random.Random) -> None:
    us, eu, ap = replicas
    model = Model()
    keys = [key_of(chance) for _ in range(40)]
    for number in range(120):
        kind = chance.random()
        if kind < 0.5:
            put = PutRequest(key=chance.choice(keys), value=b"%d" % number, prev_kv=chance.random() < 0.3)
            assert us.write(put) == [model.put(put)]
        elif kind < 0.6:
            delete = DeleteRangeRequest(key=chance.choice(keys), prev_kv=chance.random() < 0.5)
            assert us.write(delete) == [model.delete_range(delete)]
        elif kind < 0.62:
            (key, range_end), (start, end) = span_of(chance, keys), span_of(chance, keys)
            revision = chance.choice((0, model.revision))
            ranges = [
                RangeRequest(key=key, range_end=range_end, revision=revision, limit=chance.choice((0, 2))),
                RangeRequest(key=start, range_end=end, count_only=True),
            ]
            put = PutRequest(key=chance.choice(keys), value=b"%d" % number)
            txn = TxnRequest(
                compare=[Compare(key=start, range_end=end, target=Compare.VERSION, result=Compare.GREATER)],
                success=operations([put, *ranges]),
                failure=operations([*ranges, put, *ranges]),
            )
            assert us.write(txn) == [model.txn(txn)]
        elif kind < 0.65:
            start, end = span_of(chance, keys)
            delete = DeleteRangeRequest(key=start, range_end=end)
            if chance.random() < 0.5:
                assert us.write(delete) == [model.delete_range(delete)]
            else:
                assert us.delete_in_steps(delete) == model.delete_range(delete)
        elif kind < 0.7 and model.revision > model.compact_revision + 1:
            revision = chance.randint(model.compact_revision + 1, model.revision)
            us.compact(revision)
            model.compact(revision)
        elif kind < 0.75:
            us.machine.compact_step(chance.randint(1, 60))
        elif kind < 0.8 and eu.machine.revision >= us.machine.compact_revision:
            eu.follow(us, max_rows=chance.randint(1, 20))
        elif kind < 0.82:
            us.reopen()
        compare_reads(us, model, chance, keys, count=4)
    compare_all(us, model)
    while us.machine.compact_step():
        pass
    compare_all(us, model)
    if eu.machine.revision >= us.machine.compact_revision:
        eu.follow(us)
        compare_all(eu, model)
    install(us, ap, max_rows=chance.randint(1, 6))
    newest = us.hash()
    assert ap.hash().hash == newest.hash
    assert us.range() == ap.range()
    # Nothing is left of what was deleted and compacted.
    us.delete(*ALL)
    us.compact(us.machine.revision)
    us.put(b"last")
    us.compact(us.machine.revision)
    while us.machine.compact_step():
        pass
    assert index_entries(us) == 2  # a row and its entry


def test_an_undone_tail_leaves_what_was_before(tmp_path: Path, chance: random.Random) -> None:
    us, eu = Replica(tmp_path / "us"), Replica(tmp_path / "eu", "eu")
    keys = [key_of(chance) for _ in range(15)]
    for key in keys[:10]:
        us.put(key, b"1")
    follow(us, eu)
    before = eu.range()
    for key in keys[5:]:
        us.put(key, b"lost")
    us.delete(keys[0])
    promote(eu, 2)
    assert us.range() != before
    leave(eu, us, max_rows=chance.choice((0, 1, 30)))
    follow(eu, us)
    assert (us.range(), us.hash()) == (before, eu.hash())
    assert index_entries(us) == index_entries(eu)


def test_deletions_in_steps_and_at_once_are_the_same_in_every_region(tmp_path: Path, chance: random.Random) -> None:
    step = 2
    us, at_once = (Replica(tmp_path / name, deletion_step_keys=step) for name in ("us", "at-once"))
    eu = Replica(tmp_path / "eu", "eu", deletion_step_keys=step)
    keys = sorted({key_of(chance) for _ in range(20)})
    for replica in (us, at_once):
        for key in keys:
            replica.put(key)
    eu.follow(us)
    start, end = span_of(chance, keys)
    deleted = us.delete_in_steps(DeleteRangeRequest(key=start, range_end=end))
    assert deleted == at_once.delete(start, end)
    eu.follow(us)
    assert eu.hash() == us.hash()
    assert eu.range() == us.range() == at_once.range()


def test_few_long_keys_that_take_more_than_a_step_are_sent_as_their_range(tmp_path: Path) -> None:
    us, eu = Replica(tmp_path / "us"), Replica(tmp_path / "eu", "eu")
    for number in range(60):
        us.put(b"%02d" % number + b"k" * 100_000)
    eu.follow(us)
    steps: list[int] = []
    us.delete_in_steps(DeleteRangeRequest(key=b"0", range_end=b"9"), lambda: steps.append(1))
    assert len(steps) >= 1
    batch = us.batch_after(eu.machine.revision)
    assert (batch.deleted.count, batch.rows) == (60, b"")
    eu.follow(us)
    assert eu.hash() == us.hash()


def lease_write(replica: Replica, **request: object) -> object:
    batch = WriteBatch(epoch=1, requests=[WriteRequest(**request)])  # type: ignore[arg-type]
    return replica.apply(lease_write=batch)[0]


def test_leases_keep_and_end_keys_of_every_length(tmp_path: Path, chance: random.Random) -> None:
    us, eu, ap = Replica(tmp_path / "us"), Replica(tmp_path / "eu", "eu"), Replica(tmp_path / "ap", "ap")
    attached: dict[int, set[bytes]] = {1: set(), 2: set()}
    for lease in attached:
        lease_write(us, lease_grant=LeaseGrantRequest(ID=lease, TTL=100))
    keys = [key_of(chance) for _ in range(12)]
    for _ in range(60):
        key, lease = chance.choice(keys), chance.choice((0, 1, 2, 2))
        for others in attached.values():
            others.discard(key)
        if chance.random() < 0.2:
            us.delete(key)
            continue
        us.put(key, b"v", lease=lease)
        if lease:
            attached[lease].add(key)
    eu.follow(us)
    install(us, ap)
    for replica in (us, eu, ap):
        for lease, expected in attached.items():
            assert replica.machine.lease_keys(lease) == sorted(expected)
            assert replica.machine.count_lease_keys(lease) == len(expected)
    lease_write(us, lease_revoke=LeaseRevokeRequest(ID=2))
    assert us.machine.lease_keys(2) == []
    assert not {kv.key for kv in us.range().kvs} & attached[2]
    assert us.machine.lease_keys(1) == sorted(attached[1])
    eu.follow(us)
    assert eu.hash() == us.hash()
    assert eu.machine.lease_keys(1) == sorted(attached[1])


def test_a_lease_has_no_more_bytes_of_long_keys_than_one_revision_may_delete(tmp_path: Path) -> None:
    us = Replica(tmp_path / "us", max_revision_bytes=10_000)
    lease_write(us, lease_grant=LeaseGrantRequest(ID=1, TTL=100))
    answers = [us.put(b"%d" % number + b"k" * 3000, lease=1) for number in range(5)]
    assert [isinstance(answer, RequestTooWide) for answer in answers] == [False] * 4 + [True]


def test_a_write_looks_at_no_more_bytes_of_long_keys_than_it_may_read(tmp_path: Path) -> None:
    us = Replica(tmp_path / "us")
    for number in range(5):
        us.put(b"%d" % number + b"k" * 3000)
    narrow = WriteLimits(max_txn_ops=128, max_revision_bytes=10_000)
    read = RangeRequest(key=b"0", range_end=b"9", count_only=True)
    [answer] = us.write(TxnRequest(success=operations([read])), limits=narrow)
    assert isinstance(answer, RequestTooWide)
    [answer] = us.write(TxnRequest(success=operations([read])))
    assert answer.responses[0].response_range.count == 5


def test_keys_above_the_places_of_leases_are_in_a_snapshot(tmp_path: Path) -> None:
    """In the order of a snapshot a lease's place begins with 512 bytes of 0xff, and so do these keys."""
    us, eu = Replica(tmp_path / "us"), Replica(tmp_path / "eu", "eu")
    keys = [
        b"\xff" * size + end for size in (510, 511, 512, 513, 520, 521, 600) for end in (b"", b"\0", b"s", b"\xff\xfe")
    ]
    for key in keys:
        us.put(key)
    for lease in (1, -1, 1 << 62):
        lease_write(us, lease_grant=LeaseGrantRequest(ID=lease, TTL=100))
    sent = list(chunks(us, max_rows=1))
    assert [chunk.last_key for chunk in sent] == sorted(chunk.last_key for chunk in sent)
    for chunk in sent:
        eu.apply(snapshot=step_of(us, eu, chunk))
    assert eu.range() == us.range()
    assert len(eu.range().kvs) == len(set(keys))
    assert eu.hash().hash == us.hash().hash
    assert {lease.id for lease in eu.machine.leases(None, 10)[0]} == {1, -1, 1 << 62}


def test_a_range_of_short_keys_reads_no_long_key_that_is_outside_of_it(tmp_path: Path) -> None:
    us = Replica(tmp_path / "us")
    for key in (b"a", b"b", b"m" * 1_000_000, b"z"):
        us.put(key)
    with us.machine._reading() as (reader, _):
        assert [reader.holds_long_keys(*span) for span in ((b"a", b"c"), (b"n", None), (b"a", b"z"))] == [
            False,
            False,
            True,
        ]
        assert [key[:1] for key, _ in reader.scan(b"a", None)] == [b"a", b"b", b"m", b"z"]
