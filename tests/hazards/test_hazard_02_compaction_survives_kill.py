"""Hazard 2: compaction rewrites the journal in place; a replica killed in it loses what was acknowledged long ago."""

from __future__ import annotations

from pathlib import Path

import pytest
from pysyncobj.journal import FileJournal, ResizableFile
from rstore_replica.raft.storage.disk import DiskFile, LocalDisk
from rstore_replica.raft.storage.journal import Journal

ENTRIES = 25_000


class Killed(BaseException):
    """Raised in place of the end of the process."""


def test_hazard_02_stock_killed_in_compaction_loses_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(tmp_path / "journal")
    journal = FileJournal(file)
    for index in range(1, ENTRIES + 1):
        journal.add(b"\0entry", index, 1)
    real, left = ResizableFile.write, 20

    def write(self: ResizableFile, offset: int, values: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        real(self, offset, values)

    monkeypatch.setattr(ResizableFile, "write", write)
    with pytest.raises(Killed):
        journal.deleteEntriesTo(10)  # ten entries are in a snapshot, 24,990 are only here
    monkeypatch.undo()
    assert len(FileJournal(file)) < 12


class MortalDisk(LocalDisk):
    """A disk that raises :class:`Killed` before its n-th operation that changes something."""

    def __init__(self, operations: int) -> None:
        super().__init__()
        self.left = operations

    def live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def open(self, path: Path) -> DiskFile:
        file = super().open(path)
        real_append, real_sync = file.append, file.sync

        def append(data: bytes) -> None:
            self.live()
            real_append(data)

        def sync() -> None:
            self.live()
            real_sync()

        file.append, file.sync = append, sync  # type: ignore[method-assign]
        return file

    def remove(self, path: Path) -> None:
        self.live()
        super().remove(path)

    def sync_directory(self, path: Path) -> None:
        self.live()
        super().sync_directory(path)


def test_hazard_02_ours_killed_at_any_step_of_a_compaction_keeps_every_entry(tmp_path: Path) -> None:
    step, finished = 0, False
    while not finished:
        directory = tmp_path / str(step)
        journal = Journal(directory, LocalDisk(), segment_bytes=8192, cache_bytes=1000)
        for index in range(2, 400):
            journal.append(index, 1, b"\0%d" % index + b"x" * 100)
        pending = journal.take_sync()
        pending.work()
        pending.done()
        journal.close()
        disk = MortalDisk(step)
        try:
            Journal(directory, disk, segment_bytes=8192, cache_bytes=1000).compact(300, 299)
            finished = True
        except Killed:
            step += 1
        journal = Journal(directory, LocalDisk(), segment_bytes=8192, cache_bytes=1000)
        assert journal.first_index <= 300
        assert journal.last_index == 399
        for index in range(300, 400):
            assert journal.entry(index).command == b"\0%d" % index + b"x" * 100
        journal.close()
    assert journal.first_index == 300
    assert step > 4
