"""Reading a quarantine file page by page: every row once, whatever is asked for and however large the file is."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_api import rows
from rstore_api.proto.rstore_pb2 import QuarantinedRow, QuarantineReadRequest
from rstore_replica.api.services.quarantine import PAGE_BYTES, PAGE_PARTS, _read_page, _read_raw
from rstore_replica.mvcc.tail_facts import TailHeader
from rstore_replica.mvcc.tails import file as tail_file

HEADER = TailHeader("s1", "us", 1, 2, 200, 1, 2, ((1, 2, "us", 0),))


def write(path: Path, parts: list[list[rows.Row]]) -> Path:
    """A file of these parts."""
    data = tail_file.start_bytes(HEADER)
    for part in parts:
        frames: list[bytes] = []
        for row in part:
            body = rows.pack(row)
            frames += (rows.FRAME_HEADER.pack(row.revision, row.sub, len(body)), body)
        data += tail_file.part_bytes(frames)
    count = sum(map(len, parts))
    path.write_bytes(data + tail_file.end_bytes(count, count))
    return path


def row(revision: int, key: bytes, value: bytes = b"v") -> rows.Row:
    return rows.Row(revision, 0, key, value, revision, 1)


def read_all(path: Path, **asked: bytes) -> tuple[list[QuarantinedRow], int]:
    """All rows, and how many pages they came in."""
    request, found, pages = QuarantineReadRequest(**asked), [], 0  # type: ignore[arg-type]
    while True:
        page = _read_page(path, request)
        found += page.rows
        pages += 1
        if not page.next_offset:
            return found, pages
        assert page.next_offset > request.offset
        request.offset = page.next_offset


def test_large_rows_come_in_several_pages(tmp_path: Path) -> None:
    parts = [[row(number, b"k%d" % number, b"%d" % number * 300_000)] for number in range(2, 10)]
    path = write(tmp_path / "1-2-9.wal", parts)
    found, pages = read_all(path)
    assert [one.revision for one in found] == list(range(2, 10))
    assert found[3].value == b"5" * 300_000
    assert pages == 3, f"of a little more than {PAGE_BYTES} bytes"


def test_few_rows_of_many_parts_are_found_in_bounded_pages(tmp_path: Path) -> None:
    parts = [[row(number, b"k%03d" % number)] for number in range(2, 2 + 3 * PAGE_PARTS)]
    path = write(tmp_path / "1-2-200.wal", parts)
    found, pages = read_all(path, key=b"k003")
    assert [one.key for one in found] == [b"k003"]
    assert pages == 4
    found, _ = read_all(path, key=b"k100", range_end=b"k104")
    assert [one.key for one in found] == [b"k100", b"k101", b"k102", b"k103"]
    assert len(read_all(path)[0]) == 3 * PAGE_PARTS


def test_raw_pages_are_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "1-2-9.wal", [[row(number, b"k", bytes(500_000))] for number in range(2, 8)])
    request, data = QuarantineReadRequest(raw=True), b""
    while True:
        page = _read_raw(path, request)
        data += page.data
        if not page.next_offset:
            break
        request.offset = page.next_offset
    assert data == path.read_bytes()


@pytest.mark.parametrize("at", [-30, 400])
def test_damage_is_reported_with_file_and_offset(tmp_path: Path, at: int) -> None:
    path = write(tmp_path / "1-2-9.wal", [[row(number, b"k%d" % number, bytes(200))] for number in range(2, 9)])
    whole = bytearray(path.read_bytes())
    whole[at] ^= 1
    path.write_bytes(whole)
    with pytest.raises(tail_file.DamagedTail, match=r"1-2-9.wal is damaged at offset \d+: "):
        read_all(path)


def test_an_offset_that_is_no_beginning_of_a_part_is_damage_not_a_crash(tmp_path: Path) -> None:
    path = write(tmp_path / "1-2-9.wal", [[row(2, b"k")]])
    for offset in (1, 17, path.stat().st_size - 3, path.stat().st_size + 100):
        with pytest.raises(tail_file.DamagedTail):
            _read_page(path, QuarantineReadRequest(offset=offset))
