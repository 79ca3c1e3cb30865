"""The marker that tells whether unsynced state survived."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from rstore_replica.raft import LocalDisk
from rstore_replica.raft.storage.boot import RunningMarker, read_boot_id
from rstore_replica.raft.storage.disk import DiskFile


def test_state_is_trusted_when_new_after_a_crash_of_the_process_and_after_a_clean_end(tmp_path: Path) -> None:
    marker = RunningMarker(tmp_path / "running", LocalDisk(), read_boot_id())
    assert marker.trusted()
    marker.set()
    assert RunningMarker(tmp_path / "running", LocalDisk(), read_boot_id()).trusted()
    marker.clear()
    assert RunningMarker(tmp_path / "running", LocalDisk(), "another boot").trusted()


def test_a_marker_that_is_there_already_is_made_durable_without_room_on_the_disk(tmp_path: Path) -> None:
    class FullDisk(LocalDisk):
        synced: list[Path] = []  # noqa: RUF012

        def open(self, path: Path) -> DiskFile:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        def sync_directory(self, path: Path) -> None:
            self.synced.append(path)

    RunningMarker(tmp_path / "running", LocalDisk(), "one boot").set()
    disk = FullDisk()
    RunningMarker(tmp_path / "running", disk, "one boot").set()
    assert disk.synced == [tmp_path]


@pytest.mark.parametrize("torn", [b"", b"half"])
def test_state_is_not_trusted_after_another_boot_or_with_a_marker_that_cannot_be_read(
    tmp_path: Path, torn: bytes
) -> None:
    RunningMarker(tmp_path / "running", LocalDisk(), "one boot").set()
    assert not RunningMarker(tmp_path / "running", LocalDisk(), "another boot").trusted()
    (tmp_path / "running").write_bytes(torn)
    assert not RunningMarker(tmp_path / "running", LocalDisk(), "one boot").trusted()


def test_distrusted_state_is_not_trusted_by_the_same_boot_until_it_was_made_anew(tmp_path: Path) -> None:
    marker = RunningMarker(tmp_path / "running", LocalDisk(), "one boot")
    marker.set()
    marker.distrust()
    again = RunningMarker(tmp_path / "running", LocalDisk(), "one boot")
    assert not again.trusted()
    again.set()
    assert again.trusted()
