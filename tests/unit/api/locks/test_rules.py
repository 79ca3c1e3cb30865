"""The keys of candidates, and who of them is first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_replica.api.locks import rules


@pytest.mark.parametrize(("lease", "key"), [(1, b"n/1"), (0x7EE5A227, b"n/7ee5a227"), (-5, b"n/-5")])
def test_the_key_of_a_candidate_is_etcds(lease: int, key: bytes) -> None:
    assert rules.key_of(b"n", lease) == key


@given(name=st.binary(max_size=5), other=st.binary(max_size=8), lease=st.integers(-(2**63), 2**63 - 1))
def test_the_candidates_of_a_name_are_those_of_no_other(name: bytes, other: bytes, lease: int) -> None:
    start, end = rules.candidates_of(name)
    assert start <= rules.key_of(name, lease) < end
    key = rules.key_of(other, lease)
    assert (start <= key < end) == key.startswith(name + b"/")


def _answer(*, succeeded: bool, revision: int, own: KeyValue | None = None, oldest: int = 0) -> rpc.TxnResponse:
    kvs = [KeyValue(create_revision=oldest)] if oldest else []
    first = (
        rpc.ResponseOp(response_put=rpc.PutResponse())
        if own is None
        else rpc.ResponseOp(response_range=rpc.RangeResponse(kvs=[own]))
    )
    response = rpc.TxnResponse(
        succeeded=succeeded, responses=[first, rpc.ResponseOp(response_range=rpc.RangeResponse(kvs=kvs))]
    )
    response.header.revision = revision
    return response


@pytest.mark.parametrize(
    ("response", "revision", "value", "first"),
    [
        (_answer(succeeded=True, revision=9, oldest=9), 9, b"new", True),
        (_answer(succeeded=True, revision=9, oldest=4), 9, b"new", False),
        (_answer(succeeded=True, revision=9), 9, b"new", True),
        (
            _answer(succeeded=False, revision=9, own=KeyValue(create_revision=4, value=b"old"), oldest=4),
            4,
            b"old",
            True,
        ),
        (
            _answer(succeeded=False, revision=9, own=KeyValue(create_revision=4, value=b"old"), oldest=3),
            4,
            b"old",
            False,
        ),
    ],
)
def test_the_oldest_candidate_is_the_first(response: rpc.TxnResponse, revision: int, value: bytes, first: bool) -> None:
    candidate, is_first = rules.stood(b"n", 1, b"new", response)
    assert (candidate.key, candidate.revision, candidate.value, is_first) == (b"n/1", revision, value, first)
