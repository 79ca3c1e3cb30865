"""The packed form: what goes in comes out, and damage is found and named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api import rows
from rstore_api.rows import DamagedRows, Row, pack, pack_batch, unpack, unpack_batch
from rstore_replica.mvcc.data import layout

BYTES = st.binary(max_size=40)
NUMBERS = st.integers(1, (1 << 63) - 1)


@st.composite
def row_lists(draw: st.DrawFn) -> list[Row]:
    places = draw(st.lists(st.tuples(NUMBERS, st.integers(0, 1 << 31)), unique=True, max_size=6))
    result = []
    for revision, sub in sorted(places):
        key = draw(st.binary(min_size=1, max_size=40) | st.sampled_from([b"k" * 512, b"k" * 70_000]))
        if draw(st.booleans()):
            result.append(Row(revision, sub, key, deletion=True))
        else:
            created = draw(st.integers(1, revision))
            lease = draw(st.integers(-(1 << 63), (1 << 63) - 1))
            result.append(Row(revision, sub, key, draw(BYTES), created, draw(NUMBERS), lease))
    return result


@settings(max_examples=100)
@given(row_lists())
def test_a_batch_comes_out_as_it_went_in(original: list[Row]) -> None:
    unpacked = unpack_batch(pack_batch(original))
    assert [row for row, _ in unpacked] == original
    assert [body for _, body in unpacked] == [pack(row) for row in original]


@settings(max_examples=100)
@given(row_lists(), st.data())
def test_no_changed_byte_of_a_batch_passes(original: list[Row], data: st.DataObject) -> None:
    packed = bytearray(pack_batch(original))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedRows):
        unpack_batch(bytes(packed))


@settings(max_examples=100)
@given(row_lists(), st.data())
def test_no_cut_batch_passes(original: list[Row], data: st.DataObject) -> None:
    packed = pack_batch(original)
    with pytest.raises(DamagedRows):
        unpack_batch(packed[: data.draw(st.integers(1, len(packed) - 1))])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """One that is nearly right, or right."""
    key = draw(st.binary(max_size=3) | st.just(b"k" * 511) | st.just(b"k" * 512))
    value = draw(st.sampled_from([b"", b"v"]))
    odd = draw(st.integers(0, 5))
    revision, sub = draw(st.integers(0, 4)), draw(st.integers(0, 2))
    size = max(0, len(key) + (draw(st.integers(-1, 2)) if odd == 2 else 0))
    is_long = draw(st.integers(0, 3)) == 3 if odd == 5 else len(key) > 511
    header = rows.BODY_HEADER.pack(
        draw(st.integers(0, 2)) if odd == 1 else 1,
        draw(st.integers(0, 3)) | (8 if is_long else 0) | (draw(st.sampled_from([0, 4, 16])) if odd == 5 else 0),
        draw(st.integers(0, 1)) if is_long and odd == 5 else 0 if is_long else size,
        draw(st.integers(0, 5)),
        draw(st.integers(0, 1)),
        draw(st.integers(-1, 0)),
    )
    header += size.to_bytes(4, "big") if is_long else b""
    body = (header + key + value)[: draw(st.integers(0, 40)) if odd == 3 else None]
    size = max(0, len(body) + (draw(st.integers(-2, 40)) if odd == 4 else 0))
    return rows.FRAME_HEADER.pack(revision, sub, size) + body


def read_slowly(payload: bytes) -> list[Row]:
    """What the format says, one thing after the other."""
    found: list[Row] = []
    while payload:
        if len(payload) < rows.FRAME_HEADER.size:
            raise DamagedRows("header")
        revision, sub, size = rows.FRAME_HEADER.unpack_from(payload)
        body, payload = payload[rows.FRAME_HEADER.size :][:size], payload[rows.FRAME_HEADER.size + size :]
        if len(body) < size or (revision, sub) <= ((found[-1].revision, found[-1].sub) if found else (0, 0)):
            raise DamagedRows("length or order")
        found.append(unpack(revision, sub, body))
    return found


@settings(max_examples=600)
@given(st.lists(frames(), min_size=1, max_size=3), st.integers(0, 3))
def test_the_quick_look_at_frames_refuses_exactly_what_a_slow_one_does(parts: list[bytes], cut: int) -> None:
    """Replicas of different versions must agree on it."""
    payload = b"".join(parts)
    payload = payload[: len(payload) - cut]
    try:
        expected = read_slowly(payload)
    except DamagedRows:
        expected = None
    packed = rows.join_frames([payload], len(parts))
    if expected is None or len(expected) != len(parts):
        with pytest.raises(DamagedRows):
            rows.unpack_frames(packed)
        return
    found = rows.unpack_frames(packed)
    assert [(at, sub, key, created, version) for at, sub, _, _, key, created, version in found] == [
        (row.revision, row.sub, row.key, row.create_revision, row.version) for row in expected
    ]
    assert [row_key for _, _, row_key, *_ in found] == [layout.ROW_KEY.pack(row.revision, row.sub) for row in expected]
    assert [body for _, _, _, body, *_ in found] == [pack(row) for row in expected]


@settings(max_examples=150)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_row_or_damage(body: bytes) -> None:
    try:
        row = unpack(7, 0, body)
    except DamagedRows:
        return
    assert pack(row) == body


def test_nothing_is_a_batch_without_rows() -> None:
    assert unpack_batch(b"") == []
    assert unpack_batch(pack_batch([])) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\x01\x00", "less than a header"),
        (b"\x02" + rows.pack_body(b"k", b"v", 1, 1, 0)[1:], "format 2"),
        (rows.pack_body(b"k", b"v", 1, 1, 0)[:-2], "a key of 1 bytes in a body of 28"),
        (rows.pack_body(b"", b"v", 1, 1, 0), "a key of 0 bytes"),
        (rows.BODY_HEADER.pack(1, 0, 512, 1, 1, 0) + b"k" * 512, "a key of 512 bytes"),
        (rows.BODY_HEADER.pack(1, 8, 0, 1, 1, 0) + bytes((0, 0, 1, 255)) + b"k" * 511, "a long key of 511 bytes"),
        (rows.BODY_HEADER.pack(1, 8, 1, 1, 1, 0) + bytes((0, 0, 2, 0)) + b"k" * 512, "a long key of 1 bytes"),
        (rows.BODY_HEADER.pack(1, 8, 0, 1, 1, 0) + bytes(3), "a long key of 0 bytes in a body of 31"),
        (rows.BODY_HEADER.pack(1, 8, 0, 1, 1, 0) + bytes((255, 0, 0, 0)), "a long key of 4278190080 bytes"),
        (rows.pack_body(b"k" * 512, b"", 1, 1, 0)[:-1], "a key of 512 bytes in a body of 543"),
        (rows.of_kind(rows.pack_body(b"k" * 512, b"v", 1, 1, 0), rows.AUTH), "flags 12"),
        (rows.pack_deletion(b"k") + b"x", "a deletion that carries data"),
        (rows.pack_body(b"k", b"v", 9, 1, 0), "created at revision 9"),
        (rows.pack_body(b"k", b"v", 1, 0, 0), "version 0"),
    ],
)
def test_damage_is_named(body: bytes, says: str) -> None:
    with pytest.raises(DamagedRows, match=says):
        unpack(7, 0, body)


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(DamagedRows, match=r"row 2\.0 follows row 3\.0"):
        unpack_batch(pack_batch([Row(3, 0, b"k", deletion=True), Row(2, 0, b"k", deletion=True)]))
