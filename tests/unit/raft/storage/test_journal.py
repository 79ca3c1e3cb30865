"""The journal: what was synced survives anything, what was not may be cut, damage is told from a torn tail."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import pytest
from rstore_replica.raft import JournalDamaged
from rstore_replica.raft.storage.disk import LocalDisk
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import NO_OP
from unit.raft.storage.crash_disk import CrashDisk


def opened(path: Path, disk: LocalDisk | None = None, *, segment: int = 1 << 16, cache: int = 1 << 16) -> Journal:
    return Journal(path / "journal", disk or LocalDisk(), segment_bytes=segment, cache_bytes=cache)


def sync(journal: Journal) -> None:
    pending = journal.take_sync()
    pending.work()
    pending.done()


def log_of(journal: Journal) -> list[tuple[int, int, bytes]]:
    entries = journal.entries(journal.first_index, max_count=1 << 20, max_bytes=1 << 30)
    return [(entry.index, entry.term, entry.command) for entry in entries]


def test_entries_term_vote_and_commit_are_there_after_reopening(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.set_state(3, "n1")
    for index in range(2, 500):
        journal.append(index, 3, b"\0" + bytes([index % 251]) * 300)
    journal.set_commit(400)
    before = log_of(journal)
    sync(journal)
    journal.close()
    again = opened(tmp_path)
    assert len(list((tmp_path / "journal").iterdir())) > 2
    assert (again.current_term, again.voted_for, again.commit_index, again.durable_index) == (3, "n1", 400, 499)
    assert log_of(again) == before


def test_old_entries_are_read_from_disk_and_memory_stays_bounded(tmp_path: Path) -> None:
    journal = opened(tmp_path, cache=2000)
    for index in range(2, 100):
        journal.append(index, 1, b"\0" + bytes([index]) * 500)
    assert journal._cached <= 2000
    assert journal.entry(5).command == b"\0" + bytes([5]) * 500
    assert [entry.index for entry in journal.entries(10, max_count=50, max_bytes=1600)] == [10, 11, 12]


def test_an_entry_ends_where_its_file_would_be_cut_to_lose_nothing_of_it(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(2, 1, b"\0second")
    path, end = journal.end_of(2) or (tmp_path, 0)
    assert path.read_bytes()[:end].endswith(b"second")
    assert path.stat().st_size == end
    assert journal.end_of(1) is None
    with pytest.raises(KeyError):
        journal.end_of(3)


def test_commit_index_is_never_above_the_end_of_the_log(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(2, 1, b"\0a")
    journal.set_commit(1000)
    assert journal.commit_index == 2
    sync(journal)
    journal.close()
    assert opened(tmp_path).commit_index == 2


def test_nothing_committed_can_be_truncated(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for index in range(2, 10):
        journal.append(index, 1, b"\0")
    journal.set_commit(5)
    with pytest.raises(ValueError, match="truncation at 5"):
        journal.truncate_from(5)
    journal.truncate_from(6)
    assert journal.last_index == 5


def test_truncated_and_replaced_entries_stay_so(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for index in range(2, 20):
        journal.append(index, 1, b"\0old")
    sync(journal)
    journal.truncate_from(10)
    assert journal.durable_index == 9
    journal.append(10, 2, b"\0new")
    sync(journal)
    journal.close()
    again = opened(tmp_path)
    assert (again.last_index, again.last_term, again.entry(10).command) == (10, 2, b"\0new")


def test_a_truncation_during_a_sync_does_not_count_as_durable(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for index in range(2, 11):
        journal.append(index, 1, b"\0")
    pending = journal.take_sync()
    pending.work()
    journal.truncate_from(8)
    journal.append(8, 2, b"\0")
    pending.done()
    assert journal.durable_index == 7


def test_compaction_deletes_whole_files_and_keeps_the_rest(tmp_path: Path) -> None:
    journal = opened(tmp_path, segment=8192)
    journal.set_state(7, "n2")
    for index in range(2, 200):
        journal.append(index, 7, b"\0" + b"x" * 400)
    sync(journal)
    files = len(list((tmp_path / "journal").iterdir()))
    journal.compact(150, 149)
    assert len(list((tmp_path / "journal").iterdir())) < files
    kept = log_of(journal)
    journal.close()
    again = opened(tmp_path, segment=8192)
    assert (again.first_index, again.last_index, again.base_applied) == (150, 199, 149)
    assert (again.current_term, again.voted_for) == (7, "n2")
    assert log_of(again) == kept


def test_reset_leaves_a_placeholder_to_go_on_from(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(2, 1, b"\0")
    journal.reset(5000, 9, 4999)
    journal.append(5001, 9, b"\0after")
    sync(journal)
    journal.close()
    again = opened(tmp_path)
    assert log_of(again) == [(5000, 9, NO_OP), (5001, 9, b"\0after")]
    assert (again.commit_index, again.base_applied) == (5000, 4999)


def only_file(path: Path) -> Path:
    (file,) = (path / "journal").iterdir()
    return file


def filled(path: Path, *, synced: bool) -> list[int]:
    """Offsets at which each of a few records ends."""
    journal = opened(path)
    ends = []
    for index in range(2, 12):
        journal.append(index, 1, b"\0" + b"v" * 100)
        if synced:
            sync(journal)
        ends.append(only_file(path).stat().st_size)
    journal.close()
    return ends


@pytest.mark.parametrize("cut", [1, 17, 60, 115])
def test_a_torn_tail_is_cut(tmp_path: Path, cut: int) -> None:
    ends = filled(tmp_path, synced=False)
    with only_file(tmp_path).open("r+b") as raw:
        raw.truncate(ends[-1] - cut)
    journal = opened(tmp_path)
    assert journal.last_index == 10
    journal.append(11, 2, b"\0again")
    sync(journal)
    journal.close()
    assert opened(tmp_path).entry(11).command == b"\0again"


def test_a_hole_in_what_was_never_synced_is_a_torn_tail(tmp_path: Path) -> None:
    ends = filled(tmp_path, synced=False)
    with only_file(tmp_path).open("r+b") as raw:
        raw.seek(ends[4] + 30)
        raw.write(b"\0" * 20)
    assert opened(tmp_path).last_index == 6


def test_damage_in_what_was_synced_names_file_and_offset(tmp_path: Path) -> None:
    ends = filled(tmp_path, synced=True)
    with only_file(tmp_path).open("r+b") as raw:
        raw.seek(ends[4] + 30)
        raw.write(b"\0" * 20)
    with pytest.raises(JournalDamaged, match=rf"{only_file(tmp_path)}: damaged at offset {ends[4]}"):
        opened(tmp_path)


def test_damage_in_an_older_file_is_never_cut(tmp_path: Path) -> None:
    journal = opened(tmp_path, segment=8192)
    for index in range(2, 100):
        journal.append(index, 1, b"\0" + b"x" * 400)
    sync(journal)
    journal.close()
    oldest = sorted((tmp_path / "journal").iterdir())[0]
    with oldest.open("r+b") as raw:
        raw.truncate(oldest.stat().st_size - 3)
    with pytest.raises(JournalDamaged, match=str(oldest)):
        opened(tmp_path, segment=8192)


def test_damage_found_when_reading_an_entry_is_reported(tmp_path: Path) -> None:
    journal = opened(tmp_path, cache=1)
    for index in range(2, 6):
        journal.append(index, 1, b"\0" + b"v" * 100)
    sync(journal)
    with only_file(tmp_path).open("r+b") as raw:
        raw.seek(-150, 2)
        raw.write(b"?")
    with pytest.raises(JournalDamaged, match="entry 4"):
        journal.entries(2, max_count=9, max_bytes=9999)


def test_a_missing_file_in_the_middle_is_reported(tmp_path: Path) -> None:
    journal = opened(tmp_path, segment=8192)
    for index in range(2, 100):
        journal.append(index, 1, b"\0" + b"x" * 400)
    journal.close()
    sorted((tmp_path / "journal").iterdir())[1].unlink()
    with pytest.raises(JournalDamaged, match="the segment before it is missing"):
        opened(tmp_path, segment=8192)


@pytest.mark.parametrize("seed", range(40))
def test_random_work_and_crashes_never_lose_what_was_synced(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    disk = CrashDisk()
    journal = opened(tmp_path, disk, segment=6000, cache=1500)
    synced_log, synced_term = log_of(journal), 0
    written: set[tuple[int, int, bytes]] = set()
    floor = 1  # entries at or below are synced and were not taken away since
    term = 1
    for _ in range(300):
        action = rng.random()
        if action < 0.55:
            command = b"\0" + rng.randbytes(rng.randint(0, 400))
            written.add((journal.last_index + 1, term, command))
            journal.append(journal.last_index + 1, term, command)
        elif action < 0.62 and journal.last_index > journal.commit_index:
            term += 1
            at = rng.randint(max(journal.commit_index, journal.first_index) + 1, journal.last_index)
            journal.truncate_from(at)
            floor = min(floor, at - 1)
        elif action < 0.70:
            term += 1
            journal.set_state(term, rng.choice([None, "n1", "n2"]))
        elif action < 0.73:
            journal.set_commit(rng.randint(1, journal.durable_index))
        elif action < 0.76:
            first = rng.randint(journal.first_index, max(journal.first_index, journal.commit_index))
            journal.compact(first, first)
        elif action < 0.77:
            journal.reset(journal.last_index + rng.randint(1, 50), term, journal.last_index)
        elif action < 0.9:
            sync(journal)
        else:
            journal.close()
            disk.crash(rng)
            journal = opened(tmp_path, disk, segment=6000, cache=1500)
            recovered = log_of(journal)
            kept = [entry for entry in synced_log if entry[0] <= floor and entry[0] >= journal.first_index]
            assert [entry for entry in recovered if entry[0] <= floor] == kept
            assert journal.current_term >= synced_term
            assert all(entry in written for entry in recovered[1:])
            sync(journal)
        if not journal.dirty:
            synced_log, synced_term, floor = log_of(journal), journal.current_term, journal.last_index
            assert journal.durable_index == journal.last_index
    journal.close()


def test_what_a_failed_sync_was_to_write_is_written_again_at_the_restart_before_it_counts(
    tmp_path: Path,
) -> None:
    disk = CrashDisk()
    journal = opened(tmp_path, disk)
    journal.append(2, 1, b"\0durable")
    sync(journal)
    journal.set_state(7, "n2")
    journal.append(3, 1, b"\0in the page cache alone")
    disk.failing_syncs = 1
    with pytest.raises(OSError, match="Input/output error"):
        sync(journal)
    assert journal.durable_index == 2
    journal.close()
    again = opened(tmp_path, disk)
    assert (again.last_index, again.durable_index) == (3, 3)
    again.close()
    disk.crash(random.Random(1))
    assert log_of(opened(tmp_path))[-1] == (3, 1, b"\0in the page cache alone")
    assert opened(tmp_path).current_term == 7


def test_a_killed_process_leaves_what_the_next_one_writes_again(tmp_path: Path) -> None:
    disk = CrashDisk()
    journal = opened(tmp_path, disk)
    journal.append(2, 1, b"\0never synced")
    journal.close()
    assert opened(tmp_path, disk).durable_index == 2
    disk.crash(random.Random(1))
    assert log_of(opened(tmp_path))[-1] == (2, 1, b"\0never synced")


def test_after_a_failed_sync_no_other_one_of_the_journal_succeeds(tmp_path: Path) -> None:
    disk = CrashDisk()
    journal = opened(tmp_path, disk, segment=8192)
    for index in range(2, 12):
        journal.append(index, 1, b"\0" + bytes(300))
    disk.failing_syncs = 1
    with pytest.raises(OSError, match="Input/output error"):
        sync(journal)
    for attempt in (lambda: sync(journal), lambda: journal.compact(5, 5)):
        with pytest.raises(OSError, match="an earlier sync of the journal failed"):
            attempt()

    def begin_another_file() -> None:
        for index in range(12, 100):
            journal.append(index, 1, b"\0" + bytes(300))

    with pytest.raises(OSError, match="an earlier sync of the journal failed"):
        begin_another_file()
    assert journal.durable_index == 1


def test_a_journal_that_is_refused_leaves_no_file_open(tmp_path: Path) -> None:
    with contextlib.closing(Journal(tmp_path, LocalDisk(), segment_bytes=1 << 20, cache_bytes=1 << 20)) as journal:
        journal.set_state(1, "n1")
        journal.take_sync().work()
    (tmp_path / "other.seg").write_bytes(b"no segment")
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(JournalDamaged):
        Journal(tmp_path, LocalDisk(), segment_bytes=1 << 20, cache_bytes=1 << 20)
    assert len(os.listdir("/dev/fd")) == before
