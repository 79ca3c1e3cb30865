"""What is written can be read, and what is damaged is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.etcd_files import bolt
from rstore_api.etcd_files.bolt_reader import DamagedDatabase, Database
from rstore_api.etcd_files.bolt_writer import Layout

Buckets = dict[bytes, dict[bytes, bytes]]


def database(buckets: Buckets) -> bytes:
    """Returns the file of these buckets."""
    layout = Layout()
    pages = [page for name in buckets for page in layout.bucket(name, sorted(buckets[name].items()))]
    root, head = layout.end()
    data = head.encode() + b"".join(pages) + root
    assert len(data) == head.size_bytes
    return data


def read(path: Path) -> Buckets:
    with Database(path) as opened:
        return {name: dict(opened.items(name)) for name in opened.buckets()}


names = st.binary(min_size=1, max_size=20)
values = st.binary(max_size=60) | st.integers(4000, 70_000).map(bytes)


@settings(max_examples=40)
@given(buckets=st.dictionaries(names, st.dictionaries(st.binary(min_size=1, max_size=3000), values), min_size=1))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, buckets: Buckets):
    path = tmp_path_factory.mktemp("bolt") / "db"
    path.write_bytes(database(buckets))
    assert read(path) == buckets


def test_a_large_bucket_has_several_levels(tmp_path: Path):
    bucket = {b"%09d" % number + bytes(1500): b"%d" % number for number in range(3000)}
    path = tmp_path / "db"
    path.write_bytes(database({b"key": bucket}))
    assert read(path) == {b"key": bucket}


def test_the_checksum_is_fnv_1a():
    assert bolt.checksum(b"") == 0xCBF29CE484222325
    assert bolt.checksum(b"foobar") == 0x85944171F73967E8


def test_what_follows_the_database_is_not_of_it(tmp_path: Path):
    path, data = tmp_path / "db", database({b"key": {b"a": b"1"}})
    path.write_bytes(data + bytes(32))
    with Database(path) as opened:
        assert opened.size_bytes == len(data)


@pytest.mark.parametrize("copy", [0, 1])
def test_one_copy_of_the_meta_data_is_enough(tmp_path: Path, copy: int):
    data = bytearray(database({b"key": {b"a": b"1"}}))
    data[copy * bolt.PAGE_BYTES + bolt.PAGE.size + 20] ^= 1
    path = tmp_path / "db"
    path.write_bytes(data)
    assert read(path) == {b"key": {b"a": b"1"}}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: data[:100], "too few for a database"),
        (lambda data: bytes(len(data)), "no database of etcd"),
        (lambda data: data[:-1], "are more than the file's"),
        (lambda data: data[:12288] + bytes(16) + data[12304:], "says that it is page 0"),
        (lambda data: data.replace(b"\x01\x00\x00\x00", b"\xff\xff\x00\x00"), "."),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change, text):
    path = tmp_path / "db"
    path.write_bytes(change(database({b"key": {b"a": b"1", b"b": b"2"}})))
    with pytest.raises(DamagedDatabase, match=text):
        read(path)


def test_a_tree_that_contains_itself_is_refused(tmp_path: Path):
    bucket = {b"%09d" % number: bytes(1000) for number in range(200)}
    data = bytearray(database({b"key": bucket}))
    page = next(
        number
        for number in range(3, len(data) // bolt.PAGE_BYTES)
        if bolt.PAGE.unpack_from(data, number * bolt.PAGE_BYTES)[:2] == (number, bolt.BRANCH_PAGE)
    )
    at = page * bolt.PAGE_BYTES + bolt.PAGE.size
    offset, key_bytes, _ = bolt.BRANCH.unpack_from(data, at)
    bolt.BRANCH.pack_into(data, at, offset, key_bytes, page)
    path = tmp_path / "db"
    path.write_bytes(data)
    with pytest.raises(DamagedDatabase, match="no place in a tree"):
        read(path)
