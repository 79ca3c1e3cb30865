"""A transaction of nothing but plain puts takes a shorter way through the state machine, to the same end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.errors import DuplicateKey, EmptyKey, LeaseNotFound, TooManyOps
from rstore_api.proto.rpc_pb2 import Compare, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from rstore_replica.mvcc.requests import validate
from unit.mvcc.replicas import Replica, operations

HOLDS = Compare(key=b"never put", target=Compare.VERSION, result=Compare.EQUAL, version=0)
"""With it a transaction does the same, but is not plain."""

keys = st.sampled_from([b"a", b"b", b"c", b"d" * 511])
puts = st.dictionaries(keys, st.binary(max_size=3), min_size=1)


@settings(max_examples=25)
@given(batches=st.lists(st.lists(puts, min_size=1, max_size=3), max_size=4), deleted=st.booleans())
def test_the_short_way_and_the_long_way_lead_to_the_same(
    tmp_path_factory: Any, batches: list[list[dict[bytes, bytes]]], deleted: bool
) -> None:
    answers = []
    for compare in ([], [HOLDS]):
        replica = Replica(tmp_path_factory.mktemp("plain") / "mvcc")
        try:
            replica.put(b"a")
            if deleted:
                replica.delete(b"a")
            found = [
                replica.write(
                    *(
                        TxnRequest(
                            compare=compare, success=operations([PutRequest(key=k, value=v) for k, v in txn.items()])
                        )
                        for txn in batch
                    )
                )
                for batch in batches
            ]
            answers.append((found, replica.machine.range(RangeRequest(key=b"\0", range_end=b"\0"))))
        finally:
            replica.machine.close()
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("then", "error"),
    [
        ([PutRequest(key=b"a"), PutRequest(key=b"a")], DuplicateKey),
        ([PutRequest(key=b"a"), PutRequest()], EmptyKey),
        ([PutRequest(key=b"a", lease=1)], LeaseNotFound),
        ([PutRequest(key=b"%d" % n) for n in range(129)], TooManyOps),
    ],
)
def test_what_must_be_refused_is_not_plain(tmp_path: Path, then: list[PutRequest], error: type[Exception]) -> None:
    assert validate.plain_puts(TxnRequest(success=operations(then)), 128) is None
    replica = Replica(tmp_path / "mvcc")
    try:
        assert isinstance(replica.txn(then=list(then)), error)
    finally:
        replica.machine.close()


def test_a_count_in_a_transaction_sees_the_puts_before_it_among_many_keys(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "mvcc")
    for number in range(0, 600, 100):
        replica.txn(then=[PutRequest(key=b"k%03d" % each) for each in range(number, number + 100)])
    count = RangeRequest(key=b"k", range_end=b"l", count_only=True)
    answer = replica.txn(
        then=[PutRequest(key=b"k000-"), DeleteRangeRequest(key=b"k001"), PutRequest(key=b"k002-"), count]
    )
    assert answer.responses[-1].response_range.count == 601
    replica.machine.close()
