"""Header blocks through the cache, and messages in pieces."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_wire.frames import WireError
from rstore_wire.headers import HeaderReader, block
from rstore_wire.messages import MessageError, MessageReader, prefixed

NAMES = st.sampled_from([b":path", b"grpc-timeout", b"te", b"x", b"user-agent"])
VALUES = st.sampled_from([b"", b"1", b"22S", b"/a/B", b"v" * 300])


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.lists(st.tuples(NAMES, VALUES), max_size=4), st.booleans()), max_size=30), st.integers(0, 3)
)
def test_the_cache_never_changes_what_is_read(calls: list[tuple[list[tuple[bytes, bytes]], bool]], sizes: int) -> None:
    encoder, reader = Encoder(), HeaderReader(lambda headers: headers)
    for number, (headers, huffman) in enumerate(calls):
        if sizes and number % 7 == 6:
            encoder.header_table_size = (100, 200, 4096)[number % 3]
        assert reader.read(bytes(encoder.encode(headers, huffman=huffman))) == headers


def test_blocks_that_change_nothing_are_understood_once() -> None:
    understood = []
    reader = HeaderReader(lambda headers: understood.append(headers) or len(understood))
    encoder = Encoder()
    blocks = [bytes(encoder.encode([(b"a", b"1"), (b"b", b"2")])) for _ in range(10)]
    assert [reader.read(each) for each in blocks] == [1, *[2] * 9]


def test_a_block_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(WireError):
        HeaderReader(lambda headers: headers).read(b"\xfe")


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=400)), max_size=5))
@settings(max_examples=100)
def test_written_blocks_are_read_as_they_were(headers: list[tuple[bytes, bytes]]) -> None:
    assert [(bytes(n), bytes(v)) for n, v in Decoder().decode(block(headers), raw=True)] == headers


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 60), max_size=20))
def test_messages_come_out_whole_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(prefixed, messages))
    reader, found = MessageReader(max_bytes=40), []
    for cut in cuts:
        found += map(reader.unpacked, reader.feed(data[:cut]))
        data = data[cut:]
    found += map(reader.unpacked, reader.feed(data))
    assert found == messages
    assert reader.incomplete_bytes == 0


def test_a_message_that_is_too_large_is_refused_before_it_has_come() -> None:
    reader = MessageReader(max_bytes=10)
    assert reader.feed(b"\0\0\0") == []
    with pytest.raises(MessageError) as caught:
        reader.feed(b"\0\x0b")
    assert caught.value.too_large


@pytest.mark.parametrize("data", [b"\1\0\0\0\1x", b"\1\0\0\0\0"])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_what_cannot_be_decompressed_is_refused(data: bytes, encoding: str) -> None:
    reader = MessageReader(max_bytes=10, encoding=encoding)
    (message,) = reader.feed(data)
    with pytest.raises(MessageError):
        reader.unpacked(message)
