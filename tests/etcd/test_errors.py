"""Errors: what a real etcd refuses, a store refuses with the same code and the same whole text.

Client libraries recognise errors by comparing the text, so nothing may be added to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from etcd.servers import Answer, Server
from rstore_api import methods
from rstore_api.domain.limits import MAX_TXN_OPS
from rstore_api.methods import Method
from rstore_api.proto import rpc_pb2 as rpc

KEY = b"key"
PUT = rpc.RequestOp(request_put=rpc.PutRequest(key=KEY, value=b"v"))
RANGE = rpc.RequestOp(request_range=rpc.RangeRequest(key=KEY))
MANY = [RANGE] * (MAX_TXN_OPS.default + 1)
COMPARE = rpc.Compare(key=KEY, target=rpc.Compare.VERSION, version=1)


def _nested(**branches: Any) -> rpc.RequestOp:
    return rpc.RequestOp(request_txn=rpc.TxnRequest(**branches))


def _delete(key: bytes, range_end: bytes = b"") -> rpc.RequestOp:
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, range_end=range_end))


INVALID: list[tuple[str, Method[Any, Any], Any]] = [
    ("range without a key", methods.RANGE, rpc.RangeRequest()),
    ("range in the future", methods.RANGE, rpc.RangeRequest(key=KEY, revision=1 << 40)),
    ("serializable range in the future", methods.RANGE, rpc.RangeRequest(key=KEY, revision=1 << 40, serializable=True)),
    ("range in the compacted past", methods.RANGE, rpc.RangeRequest(key=KEY, revision=1)),
    ("put without a key", methods.PUT, rpc.PutRequest(value=b"v")),
    ("put of a value to be ignored", methods.PUT, rpc.PutRequest(key=KEY, value=b"v", ignore_value=True)),
    ("put with a lease to be ignored", methods.PUT, rpc.PutRequest(key=KEY, lease=7, ignore_lease=True)),
    ("put without a value where none is", methods.PUT, rpc.PutRequest(key=b"none", ignore_value=True)),
    ("put without a lease where no key is", methods.PUT, rpc.PutRequest(key=b"none", ignore_lease=True)),
    ("put with a lease of nobody", methods.PUT, rpc.PutRequest(key=KEY, lease=7)),
    ("put that is too large", methods.PUT, rpc.PutRequest(key=KEY, value=bytes(1_600_000))),
    ("delete without a key", methods.DELETE_RANGE, rpc.DeleteRangeRequest()),
    ("delete of everything without a key", methods.DELETE_RANGE, rpc.DeleteRangeRequest(range_end=b"\0")),
    ("txn of too many operations", methods.TXN, rpc.TxnRequest(success=MANY)),
    ("txn of too many operations otherwise", methods.TXN, rpc.TxnRequest(failure=MANY)),
    ("txn of too many comparisons", methods.TXN, rpc.TxnRequest(compare=[COMPARE] * (MAX_TXN_OPS.default + 1))),
    ("txn of too many operations within", methods.TXN, rpc.TxnRequest(success=[_nested(success=MANY)])),
    ("txn that puts a key twice", methods.TXN, rpc.TxnRequest(success=[PUT, PUT])),
    ("txn that puts a key twice within", methods.TXN, rpc.TxnRequest(success=[PUT, _nested(failure=[PUT])])),
    ("txn that deletes and puts a key", methods.TXN, rpc.TxnRequest(success=[_delete(b"a", b"z"), PUT])),
    ("txn that compares without a key", methods.TXN, rpc.TxnRequest(compare=[rpc.Compare()])),
    ("txn that reads without a key", methods.TXN, rpc.TxnRequest(success=[rpc.RequestOp(request_range={})])),
    ("txn that puts without a key", methods.TXN, rpc.TxnRequest(success=[rpc.RequestOp(request_put={})])),
    ("txn that deletes without a key", methods.TXN, rpc.TxnRequest(failure=[_delete(b"")])),
    ("txn with an operation that is none", methods.TXN, rpc.TxnRequest(success=[rpc.RequestOp()])),
    (
        "txn that reads in the future",
        methods.TXN,
        rpc.TxnRequest(success=[rpc.RequestOp(request_range=rpc.RangeRequest(key=KEY, revision=1 << 40))]),
    ),
    (
        "txn that reads in the compacted past",
        methods.TXN,
        rpc.TxnRequest(success=[rpc.RequestOp(request_range=rpc.RangeRequest(key=KEY, revision=1))]),
    ),
    (
        "txn that puts without a value where none is",
        methods.TXN,
        rpc.TxnRequest(success=[PUT, rpc.RequestOp(request_put=rpc.PutRequest(key=b"none", ignore_value=True))]),
    ),
    (
        "txn with a lease of nobody",
        methods.TXN,
        rpc.TxnRequest(success=[rpc.RequestOp(request_put=rpc.PutRequest(key=KEY, lease=7))]),
    ),
    ("compaction at 0", methods.COMPACT, rpc.CompactionRequest()),
    ("compaction below 0", methods.COMPACT, rpc.CompactionRequest(revision=-1)),
    ("compaction of what is compacted", methods.COMPACT, rpc.CompactionRequest(revision=3)),
    ("compaction in the future", methods.COMPACT, rpc.CompactionRequest(revision=1 << 40)),
    ("hash in the future", methods.HASH_KV, rpc.HashKVRequest(revision=1 << 40)),
    ("hash in the compacted past", methods.HASH_KV, rpc.HashKVRequest(revision=1)),
]
"""By name: requests that etcd refuses, after the revisions 2 to 4 were made and compacted up to 3.

Not in it: an unknown order, which etcd 3.5.1 takes as any, and an unknown target, at which it panics.
"""


@pytest.fixture(scope="module")
def prepared(servers: tuple[Server, Server]) -> tuple[Server, Server]:
    """Both with three revisions of one key, compacted up to the second."""
    for server in servers:
        for value in (b"1", b"2", b"3"):
            server.put(KEY, value)
        server.compact(3)
    return servers


@pytest.mark.parametrize(("method", "request_"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID])
def test_a_refusal_is_etcds(prepared: tuple[Server, Server], method: Method[Any, Any], request_: Any) -> None:
    expected, answer = (server.call(method, request_) for server in prepared)
    assert expected.code != "OK", "etcd accepts this, so it is no case for this table"
    assert answer == expected


@pytest.mark.parametrize(
    "ask",
    [
        lambda server: server.call(methods.RANGE, rpc.RangeRequest(key=KEY, revision=-1)),
        lambda server: server.call(methods.RANGE, rpc.RangeRequest(key=KEY, range_end=b"\0", revision=-1)),
    ],
)
def test_a_revision_below_zero_is_the_newest(prepared: tuple[Server, Server], ask: Callable[[Server], Answer]) -> None:
    expected, answer = map(ask, prepared)
    assert expected.code == "OK"
    assert answer == expected
