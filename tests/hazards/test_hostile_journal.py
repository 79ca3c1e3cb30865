"""Whatever is in a journal's or a checkpoint's files: what comes back is what was written, or a clear error."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hazards.hostile_bytes import Marker
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_replica.raft import JournalDamaged, LocalDisk
from rstore_replica.raft.checkpoints.store import parse_manifest
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.storage.records import Kind, decode, encode, records_after

SEGMENT_BYTES = 4200
Files = dict[str, bytes]
Entries = dict[int, tuple[int, bytes]]


@contextmanager
def opened(directory: Path) -> Iterator[Journal]:
    journal = Journal(directory, LocalDisk(), segment_bytes=SEGMENT_BYTES, cache_bytes=100)
    try:
        yield journal
    finally:
        journal.close()


def entries_of(journal: Journal) -> Entries:
    found = (journal.entry(index) for index in range(journal.first_index, journal.last_index + 1))
    return {entry.index: (entry.term, entry.command) for entry in found}


def read(directory: Path) -> Entries | None:
    """Returns the journal's entries; None if it is refused with an error that names the place."""
    refused = ""
    found: Entries | None = None
    try:
        with opened(directory) as journal:
            found = entries_of(journal)
    except JournalDamaged as error:
        refused = str(error)
    assert found is not None or str(directory) in refused
    assert not MARKER.exists
    return found


def written() -> tuple[Files, Entries]:
    """Makes a journal with everything in it, all of it durable: three segments, votes, a truncation, a compaction."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        with opened(directory) as journal:
            for index in range(2, 140):
                journal.set_state(index // 20 + 1, "n1" if index % 2 else None)
                journal.append(index, index // 20 + 1, b"\0%d " % index + b"x" * (index % 90))
                if index == 60:
                    journal.truncate_from(58)
                    journal.append(58, 9, b"\0another")
                    journal.append(59, 9, b"\0another")
                    journal.append(60, 9, b"\0another")
                journal.set_commit(index - 4)
                pending = journal.take_sync()
                pending.work()
                pending.done()
            journal.compact(40, 39)
            entries = entries_of(journal)
        return {path.name: path.read_bytes() for path in directory.iterdir()}, entries


FILES, ENTRIES = written()
MARKER = Marker(Path(tempfile.gettempdir()) / "rstore-hostile-journal-marker")
NASTY = st.one_of(st.binary(max_size=200), st.sampled_from(MARKER.framed()))


KINDS = ("flip", "cut", "insert", "overwrite", "replace", "remove", "append", "zero", "copy")


def damage(file: int, kind: str, at: int, nasty: bytes, bit: int) -> Files:
    """Returns the files after one of them was damaged."""
    files = dict(FILES)
    names = sorted(files)
    name = names[file % len(names)]
    data = files[name]
    at %= len(data)
    if kind == "remove":
        del files[name]
        return files
    files[name] = {
        "flip": data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :],
        "cut": data[:at],
        "insert": data[:at] + nasty + data[at:],
        "overwrite": data[:at] + nasty + data[at + len(nasty) :],
        "replace": nasty,
        "append": data + nasty,
        "zero": data[:at] + bytes(len(data) - at),
        "copy": files[names[at % len(names)]],
    }[kind]
    return files


@settings(max_examples=300)
@given(
    file=st.integers(0, 3),
    kind=st.sampled_from(KINDS),
    at=st.integers(0, SEGMENT_BYTES),
    nasty=NASTY,
    bit=st.integers(0, 7),
)
def test_a_damaged_journal_is_a_clear_error_or_a_beginning_of_what_was_written(
    file: int, kind: str, at: int, nasty: bytes, bit: int
) -> None:
    files = damage(file, kind, at, nasty, bit)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / "journal"
        directory.mkdir()
        for name, data in files.items():
            (directory / name).write_bytes(data)
        found = read(directory)
        if found is None or files == FILES or not files:
            return
        # Cut may have been only what no later record vouches for: the last records of the newest file.
        for index, entry in found.items():
            if index in ENTRIES:
                assert entry == ENTRIES[index]
        newest = max(FILES)
        for name in FILES:
            assert name == newest or files.get(name) == FILES[name], "damage in a file that was complete went unseen"
        assert max(found) >= max(ENTRIES) - 3


def test_the_error_names_file_and_offset(tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    first = min(FILES)
    broken = bytearray(FILES[first])
    broken[1000] ^= 0x10
    (tmp_path / first).write_bytes(broken)
    with pytest.raises(JournalDamaged) as raised, opened(tmp_path):
        pass
    found = re.search(r"offset (\d+)", str(raised.value))
    assert found is not None
    assert str(tmp_path / first) in str(raised.value)
    assert int(found[1]) <= 1000
    assert decode(bytes(broken), int(found[1])) is None


@settings(max_examples=200)
@given(
    tail=st.lists(
        st.tuples(st.sampled_from(list(Kind)), st.one_of(st.binary(max_size=40), NASTY)), min_size=1, max_size=3
    )
)
def test_records_with_a_right_checksum_and_a_wrong_content_are_a_clear_error(tail: list[tuple[Kind, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for name, data in FILES.items():
            (directory / name).write_bytes(data)
        with (directory / max(FILES)).open("ab") as file:
            for kind, payload in tail:
                file.write(encode(kind, payload, synced_bytes=len(FILES[max(FILES)])))
        read(directory)


def test_a_file_that_is_no_segment_is_a_clear_error(tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "pickle.seg").write_bytes(MARKER.pickles[0])
    with pytest.raises(JournalDamaged, match=r"pickle\.seg"), opened(tmp_path):
        pass


@given(data=NASTY, offset=st.integers(0, 300))
def test_no_bytes_break_the_reading_of_records(data: bytes, offset: int) -> None:
    assert decode(data, min(offset, len(data))) is None
    assert list(records_after(data, 0)) == []


MANIFEST = b'{"index":3,"term":1,"base_applied":3,"files":[{"path":"data.mdb","size_bytes":1,"crc32c":0}]}'


@given(
    data=st.one_of(
        NASTY,
        st.builds(lambda at, extra: MANIFEST[:at] + extra + MANIFEST[at:], st.integers(0, len(MANIFEST)), st.binary()),
        st.builds(lambda depth: MANIFEST[:-3] + b',"more":' + b"[" * depth, st.integers(1, 5000)),
        st.sampled_from(["/etc/passwd", "../../x", "a/../../b", "", "."]).map(
            lambda path: MANIFEST.replace(b"data.mdb", path.encode())
        ),
    )
)
def test_a_manifest_is_one_or_a_clear_error(data: bytes) -> None:
    try:
        manifest = parse_manifest(data)
    except ValueError:
        return
    assert all(not Path(file.path).is_absolute() and ".." not in Path(file.path).parts for file in manifest.files)
