"""Hazard 3: a file offset of 4 GiB at most, the whole log in memory, no checksum, a torn last record goes unseen."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from pysyncobj.journal import FileJournal
from rstore_replica.raft import JournalDamaged, LocalDisk
from rstore_replica.raft.storage.journal import Journal


def stock(path: Path, entries: int = 20) -> FileJournal:
    journal = FileJournal(str(path))
    for index in range(1, entries + 1):
        journal.add(b"\0transfer 100", index, 1)
    journal.flush()
    return journal


def ours(path: Path, entries: int = 20, *, segment: int = 1 << 16, cache: int = 1 << 16) -> Journal:
    journal = Journal(path, LocalDisk(), segment_bytes=segment, cache_bytes=cache)
    for index in range(journal.last_index + 1, entries + 1):
        journal.append(index, 1, b"\0transfer 100")
    pending = journal.take_sync()
    pending.work()
    pending.done()
    return journal


def test_hazard_03_stock_cannot_go_beyond_4_gib(tmp_path: Path) -> None:
    journal = stock(tmp_path / "journal")
    with pytest.raises(struct.error):
        # What ``add`` calls with the file's new end; writing 4 GiB first would take the test minutes.
        journal._FileJournal__setLastRecordOffset(1 << 32)


def test_hazard_03_ours_has_no_limit_in_one_file(tmp_path: Path) -> None:
    ours(tmp_path, 2000, segment=8192)
    files = sorted(tmp_path.glob("*.seg"))
    assert len(files) > 10
    assert max(file.stat().st_size for file in files) <= 8192


def test_hazard_03_stock_holds_the_whole_log_in_memory(tmp_path: Path) -> None:
    journal = stock(tmp_path / "journal", 2000)
    assert len(journal._FileJournal__journal) == 2000


def test_hazard_03_ours_holds_no_more_than_its_cache(tmp_path: Path) -> None:
    journal = ours(tmp_path, 2000, cache=1000)
    assert sum(len(command) for command in journal._cache.values()) <= 1000
    assert journal.entry(5).command == b"\0transfer 100"


def test_hazard_03_stock_returns_a_flipped_bit_as_if_it_were_the_entry(tmp_path: Path) -> None:
    stock(tmp_path / "journal")._destroy()
    data = bytearray((tmp_path / "journal").read_bytes())
    place = data.index(b"transfer 100", 300) + len(b"transfer ")
    data[place] ^= 0x08  # "1" becomes "9"
    (tmp_path / "journal").write_bytes(data)
    assert b"\0transfer 900" in [command for command, _, _ in FileJournal(str(tmp_path / "journal"))[:]]


def test_hazard_03_ours_stops_at_a_flipped_bit_and_names_file_and_offset(tmp_path: Path) -> None:
    journal = ours(tmp_path)
    journal.append(21, 1, b"\0later")  # written knowing that all before is durable
    pending = journal.take_sync()
    pending.work()
    pending.done()
    journal.close()
    [file] = tmp_path.glob("*.seg")
    data = bytearray(file.read_bytes())
    place = data.index(b"transfer 100", 300)
    data[place + 9] ^= 0x08
    file.write_bytes(data)
    with pytest.raises(JournalDamaged, match=rf"{file.name}.* offset \d+"):
        Journal(tmp_path, LocalDisk(), segment_bytes=1 << 16, cache_bytes=1 << 16)


def test_hazard_03_stock_takes_a_torn_last_record_for_an_entry(tmp_path: Path) -> None:
    journal = stock(tmp_path / "journal")
    end = journal._FileJournal__currentOffset
    journal._destroy()
    # The header's page reached the disk, the page with the end of the last record did not.
    data = bytearray((tmp_path / "journal").read_bytes())
    data[end - 10 : end] = bytes(10)
    (tmp_path / "journal").write_bytes(data)
    journal = FileJournal(str(tmp_path / "journal"))
    assert len(journal) == 20
    assert journal[-1][0] != b"\0transfer 100"


def test_hazard_03_ours_cuts_a_torn_last_record(tmp_path: Path) -> None:
    journal = ours(tmp_path)
    journal.append(21, 1, b"\0never synced, so nobody was promised anything")
    journal.close()
    [file] = tmp_path.glob("*.seg")
    data = bytearray(file.read_bytes())
    data[-10:] = bytes(10)
    file.write_bytes(data)
    journal = Journal(tmp_path, LocalDisk(), segment_bytes=1 << 16, cache_bytes=1 << 16)
    assert journal.last_index == 20
    assert journal.entry(20).command == b"\0transfer 100"
