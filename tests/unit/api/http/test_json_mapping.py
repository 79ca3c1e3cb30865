from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from rstore_api.proto import rpc_pb2
from rstore_replica.api.http.json_mapping import (
    MAX_DEPTH,
    MAX_VALUES,
    SLICE_BYTES,
    JsonError,
    ValueSplitter,
    json_from,
    message_from,
)

MAX_BYTES = 1_000


def test_a_message_goes_there_and_back() -> None:
    message = rpc_pb2.RangeResponse(count=1 << 40, more=True)
    message.header.revision = 7
    message.kvs.add(key=b"\x00\xff", value="ä".encode(), version=1)
    text = json_from(message)
    assert json.loads(text) == {
        "header": {"revision": "7"},
        "kvs": [{"key": "AP8=", "value": "w6Q=", "version": "1"}],
        "more": True,
        "count": "1099511627776",
    }
    assert message_from(text, rpc_pb2.RangeResponse) == message


def test_a_large_message_is_converted_in_slices() -> None:
    message = rpc_pb2.TxnResponse(succeeded=True)
    message.header.revision = 1 << 62
    for number in range(3):
        answer = message.responses.add().response_range
        answer.count = number
        for key in range(2_000):
            answer.kvs.add(key=b"%d" % key, value=bytes(number), version=key)
    message.responses.add().response_put.SetInParent()
    paces: list[int] = []
    text = json_from(message, lambda: paces.append(1))
    assert json.loads(text) == json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert b" " not in text
    assert len(paces) > 30
    member = rpc_pb2.Member(ID=1, peerURLs=["a" * SLICE_BYTES, "b"], isLearner=True)
    assert json.loads(json_from(member)) == json_format.MessageToDict(member, preserving_proto_field_name=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", rpc_pb2.PutRequest()),
        (b" \r\n\t", rpc_pb2.PutRequest()),
        (b"null", rpc_pb2.PutRequest()),
        (b'{"key":"Zm9v","prevKv":true}', rpc_pb2.PutRequest(key=b"foo", prev_kv=True)),
        (b'{"key":"Zm9v","prev_kv":true} rest', rpc_pb2.PutRequest(key=b"foo", prev_kv=True)),
        (b'{"lease":"9223372036854775807"}', rpc_pb2.PutRequest(lease=(1 << 63) - 1)),
        (b'{"lease":7,"nothing":{"of":["this"]},"value":null}', rpc_pb2.PutRequest(lease=7)),
        (b'{"lease":1,"lease":2}', rpc_pb2.PutRequest(lease=2)),
        (b'{"key":"Zm9v\\r\\n"}', rpc_pb2.PutRequest(key=b"foo")),
    ],
)
def test_what_is_read(text: bytes, message: rpc_pb2.PutRequest) -> None:
    assert message_from(text, rpc_pb2.PutRequest) == message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"key"', "unexpected EOF"),
        (b"{", "unexpected EOF"),
        (b"{]", "Expecting property name"),
        (b"nonsense", "Expecting value"),
        (b"\xff", "utf-8"),
        (b"[]", "cannot unmarshal array"),
        (b"7", "cannot unmarshal number"),
        (b'{"key":"Zm9"}', "illegal base64 data at input byte 0"),
        (b'{"key":"Zm9vZm9"}', "illegal base64 data at input byte 4"),
        (b'{"key":"Zm9v!!"}', "illegal base64 data at input byte 4"),
        (b'{"key":"Zm9vZm-_"}', "illegal base64 data at input byte 6"),
        (b'{"key":["Zm9v"]}', "cannot unmarshal array"),
        (b'{"lease":"9223372036854775808"}', "lease"),
        (b'{"lease":1.5}', "lease"),
        (b'{"lease":NaN}', "invalid character"),
        (b'{"lease":' + b"9" * 5_000 + b"}", "digits"),
        (b'{"prev_kv":"true"}', "prev_kv"),
    ],
)
def test_what_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(JsonError, match=reason):
        message_from(text, rpc_pb2.PutRequest)


@pytest.mark.parametrize(
    "text",
    [
        b'{"compare":[{"result":"EQAL"}]}',
        b'{"compare":{}}',
        b'{"compare":[null]}',
        b'{"success":[{"request_put":{},"request_range":{}}]}',
        b'{"success":[{"request_txn":' * MAX_DEPTH + b"{}" + b"}]}" * MAX_DEPTH,
        b"[" * 10_000,
        b'{"compare":[' + b",".join([b"{}"] * MAX_VALUES) + b"]}",
    ],
)
def test_transactions_that_are_refused(text: bytes) -> None:
    with pytest.raises(JsonError):
        message_from(text, rpc_pb2.TxnRequest)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), max_size=4),
    st.sampled_from([b"", b" ", b"\n"]),
    st.booleans(),
    st.data(),
)
def test_objects_are_taken_apart_wherever_they_are_cut(
    values: list[object], between: bytes, ascii_only: bool, data: st.DataObject
) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for value in values]
    stream = between.join([*texts, b""])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    splitter = ValueSplitter(len(stream) + 1)
    complete = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        complete += splitter.feed(stream[begin:end])
    assert complete == texts
    assert not splitter.is_incomplete


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"7", "looking for beginning of object"),
        (b"{}]", "looking for beginning of object"),
        (b"{" * (MAX_DEPTH + 1), "max depth"),
        (b'{"' + bytes(MAX_BYTES), "more than"),
    ],
)
def test_streams_that_are_refused(stream: bytes, reason: str) -> None:
    with pytest.raises(JsonError, match=reason):
        ValueSplitter(MAX_BYTES).feed(stream)
