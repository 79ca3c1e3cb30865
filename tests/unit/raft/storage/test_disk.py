"""Files of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rstore_replica.raft.storage.disk import LocalFile


def test_a_rewritten_part_is_written_in_place_and_synced_while_the_file_goes_on_to_grow_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real_write, real_sync = os.pwrite, os.fsync

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        calls.append(f"write {offset}")
        return real_write(descriptor, data[:4], offset)  # as a system may: not all at once

    def fsync(descriptor: int) -> None:
        calls.append("sync")
        real_sync(descriptor)

    file = LocalFile(tmp_path / "file")
    file.append(b"0123456789")
    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "fsync", fsync)
    file.rewrite(3, b"3456789")
    assert calls == ["write 3", "write 7", "sync"]
    file.append(b"ab")
    assert file.read_at(0, 100) == b"0123456789ab"
    file.close()
