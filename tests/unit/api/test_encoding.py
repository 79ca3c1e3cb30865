"""Writes that are joined to entries as bytes are what they would be if they had been encoded as messages."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.proto import rpc_pb2, rstore_pb2
from rstore_replica.api import encoding
from rstore_replica.api.encoding import EncodedWrite, decoder, encode_entry

PUTS = st.builds(
    rpc_pb2.PutRequest, key=st.binary(max_size=200), value=st.binary(max_size=300), lease=st.integers(0, 9)
)
DELETIONS = st.builds(rpc_pb2.DeleteRangeRequest, key=st.binary(max_size=3), range_end=st.binary(max_size=3))
OPERATIONS = st.builds(rpc_pb2.RequestOp, request_put=PUTS) | st.builds(
    rpc_pb2.RequestOp, request_delete_range=DELETIONS
)
TXNS = st.builds(rpc_pb2.TxnRequest, success=st.lists(OPERATIONS, max_size=4), failure=st.lists(OPERATIONS, max_size=1))
IDS = st.none() | st.builds(rstore_pb2.RequestId, client=st.just(bytes(16)), sequence=st.integers(0, 9))


def as_message(request: object, request_id: rstore_pb2.RequestId | None) -> rstore_pb2.WriteRequest:
    found = rstore_pb2.WriteRequest(request_id=request_id)
    if isinstance(request, rpc_pb2.PutRequest):
        found.put.CopyFrom(request)
    elif isinstance(request, rpc_pb2.DeleteRangeRequest):
        found.delete_range.CopyFrom(request)
    else:
        assert isinstance(request, rpc_pb2.TxnRequest)
        found.txn.CopyFrom(request)
    return found


def as_sent(request: object, request_id: rstore_pb2.RequestId | None) -> EncodedWrite:
    kinds = {rpc_pb2.PutRequest: encoding.PUT, rpc_pb2.DeleteRangeRequest: encoding.DELETE_RANGE}
    write = decoder(kinds.get(type(request), encoding.TXN))(request.SerializeToString())  # type: ignore[attr-defined]
    return write if request_id is None else write.identified(request_id)


@settings(max_examples=100)
@given(st.lists(st.tuples(PUTS | DELETIONS | TXNS, IDS), max_size=6), st.integers(0, 2**64 - 1), st.integers(0, 2**31))
def test_joined_entries_say_what_messages_say(requests: list, epoch: int, max_ops: int) -> None:
    limits = rstore_pb2.WriteLimits(max_txn_ops=max_ops)
    messages = [as_message(*request) for request in requests]
    writes = [as_sent(*request) for request in requests]
    assert [write.message for write in writes] == messages
    wanted = rstore_pb2.LogEntry(write=rstore_pb2.WriteBatch(epoch=epoch, requests=messages, limits=limits))
    assert rstore_pb2.LogEntry.FromString(encode_entry(epoch, limits, [write.data for write in writes])) == wanted


def nested(levels: int) -> rpc_pb2.TxnRequest:
    found = rpc_pb2.TxnRequest()
    for _ in range(levels):
        found = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_txn=found)])
    return found


def test_what_is_nested_too_deep_for_an_entry_is_refused_at_once() -> None:
    decode = decoder(encoding.TXN)
    deepest = 0
    for levels in range(80):
        try:
            write = decode(nested(levels).SerializeToString())
        except (DecodeError, ValueError):
            break
        deepest = levels
        rstore_pb2.LogEntry.FromString(encode_entry(1, rstore_pb2.WriteLimits(), [write.data]))
    assert 20 < deepest < 79


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05x"])
def test_bytes_that_are_no_request_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decoder(encoding.PUT)(data)
