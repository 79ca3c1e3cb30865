"""What one write may change and look at; beyond it nothing happens at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message
from rstore_api.errors import RequestTooWide
from rstore_api.proto.rpc_pb2 import Compare, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from rstore_api.proto.rstore_pb2 import WriteLimits, WriteRequest
from rstore_replica.mvcc.requests.validate import is_wide
from unit.mvcc.replicas import FIELDS, Replica, operations

KEYS = 10
EVERYTHING = {"key": b"k", "range_end": b"l"}


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us", max_revision_rows=KEYS, max_revision_bytes=4096)
    for number in range(KEYS):
        replica.put(b"k%d" % number, b"v" * 100)
    yield replica
    replica.machine.close()


def _txn(*requests: Message, compare: tuple[Compare, ...] = ()) -> TxnRequest:
    return TxnRequest(compare=compare, success=operations(list(requests)))


PUTS = [PutRequest(key=b"p%d" % number, value=b"v") for number in range(KEYS + 1)]
WIDE: dict[str, Callable[[], Message]] = {
    "delete": lambda: DeleteRangeRequest(**EVERYTHING),
    "delete in a transaction": lambda: _txn(DeleteRangeRequest(**EVERYTHING)),
    "delete in an inner transaction": lambda: _txn(_txn(DeleteRangeRequest(**EVERYTHING))),
    "deletes together": lambda: _txn(
        DeleteRangeRequest(key=b"k0", range_end=b"k5"), DeleteRangeRequest(key=b"k5", range_end=b"l")
    ),
    "puts": lambda: _txn(*PUTS),
    "puts in inner transactions": lambda: _txn(_txn(*PUTS[:6]), _txn(*PUTS[6:])),
    "range": lambda: _txn(RangeRequest(**EVERYTHING, limit=1)),
    "count": lambda: _txn(RangeRequest(**EVERYTHING, count_only=True)),
    "compare": lambda: _txn(
        PutRequest(key=b"x"), compare=(Compare(**EVERYTHING, target=Compare.VERSION, result=Compare.GREATER),)
    ),
}


@pytest.mark.parametrize("name", WIDE)
def test_more_keys_than_allowed_are_refused_and_nothing_changes(replica: Replica, name: str) -> None:
    replica.put(b"kk")  # the eleventh
    revision, everything = replica.machine.revision, replica.range().SerializeToString()
    answer = replica.write(WIDE[name](), PutRequest(key=b"other"))
    assert isinstance(answer[0], RequestTooWide)
    assert answer[1].header.revision == revision + 1
    replica.machine.rewind(revision)
    assert replica.range().SerializeToString() == everything


def test_exactly_as_many_keys_as_allowed_are_deleted_and_read(replica: Replica) -> None:
    assert replica.txn(then=[RangeRequest(**EVERYTHING)]).responses[0].response_range.count == KEYS
    assert replica.delete(b"k", b"l", prev_kv=True).deleted == KEYS


def test_the_bytes_of_a_revision_are_bounded_also_when_the_request_is_small(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "us", max_revision_bytes=10_000)
    for number in range(6):
        replica.put(b"k%d" % number, b"v" * 2000)
    touch = [PutRequest(key=b"k%d" % number, ignore_value=True) for number in range(6)]
    assert isinstance(replica.txn(then=touch), RequestTooWide)
    assert replica.txn(then=touch[:4]).succeeded
    assert isinstance(replica.delete(b"k", b"l", prev_kv=True), RequestTooWide)
    assert isinstance(replica.txn(then=[RangeRequest(**EVERYTHING)]), RequestTooWide)
    assert replica.txn(then=[RangeRequest(**EVERYTHING, limit=3)]).succeeded
    by_value = Compare(**EVERYTHING, target=Compare.VALUE, result=Compare.EQUAL, value=b"v" * 2000)
    assert isinstance(replica.txn(by_value), RequestTooWide)
    assert replica.delete(b"k", b"l").deleted == 6
    replica.machine.close()


def test_the_limits_in_the_entry_count_and_not_the_replica_s_own(replica: Replica) -> None:
    other = DeleteRangeRequest(**EVERYTHING)
    [refused] = replica.write(other, limits=WriteLimits(max_txn_ops=128, max_revision_rows=KEYS - 1))
    assert isinstance(refused, RequestTooWide)
    replica.put(b"kk")
    assert replica.write(other, limits=WriteLimits(max_txn_ops=128))[0].deleted == KEYS + 1  # the defaults


@pytest.mark.parametrize(
    ("request_", "wide"),
    [
        (PutRequest(key=b"a"), False),
        (DeleteRangeRequest(key=b"a"), False),
        (DeleteRangeRequest(**EVERYTHING), True),
        (_txn(*PUTS, RangeRequest(key=b"a"), DeleteRangeRequest(key=b"a")), False),
        (_txn(RangeRequest(**EVERYTHING)), True),
        (_txn(_txn(DeleteRangeRequest(**EVERYTHING))), True),
        (_txn(compare=(Compare(**EVERYTHING),)), True),
    ],
)
def test_what_may_touch_many_keys_is_recognised(request_: Message, wide: bool) -> None:
    assert is_wide(WriteRequest(**{FIELDS[type(request_)]: request_})) is wide  # type: ignore[arg-type]
