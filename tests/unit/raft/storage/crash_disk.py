"""A disk that forgets at a crash what was not synced, and may keep a torn part of the last write."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rstore_replica.raft.storage.disk import DiskFile, LocalDisk, LocalFile

T = TypeVar("T")


class CrashFile(LocalFile):
    """Knows how much of it has been synced, also when another one of the same path was open before.

    What a sync that failed was to write is clean: no later sync writes it.
    """

    def __init__(self, path: Path, disk: CrashDisk) -> None:
        super().__init__(path)
        self.path = path
        self._disk = disk
        earlier = next((file for file in disk.files if file.path == path), None)
        self.synced = self.size() if earlier is None else min(earlier.synced, self.size())
        self.lost = earlier is not None and earlier.lost

    def sync(self) -> None:
        if self._disk.failing_syncs > 0:
            self._disk.failing_syncs -= 1
            self.lost = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if not self.lost:
            self.synced = self.size()

    def rewrite(self, offset: int, data: bytes) -> None:
        assert self.read_at(offset, len(data)) == data
        if offset <= self.synced:
            self.lost = False
            self.synced = max(self.synced, offset + len(data))

    def truncate(self, size: int) -> None:
        super().truncate(size)
        self.synced = min(self.synced, size)


class CrashDisk(LocalDisk):
    """Files below real directories; work given to :meth:`run` is done at once."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[CrashFile] = []
        self.failing_syncs = 0

    def open(self, path: Path) -> DiskFile:
        file = CrashFile(path, self)
        self.files = [other for other in self.files if other.path != path]
        self.files.append(file)
        return file

    def sync_directory(self, path: Path) -> None:
        assert path.is_dir()

    async def run(self, work: Callable[[], T]) -> T:
        return work()

    def crash(self, rng: random.Random) -> None:
        """Power loss: of each file only what was synced is left, and some of the rest."""
        for file in self.files:
            if file.path.exists():
                size = file.path.stat().st_size
                kept = file.synced if rng.random() < 0.5 else rng.randint(file.synced, max(size, file.synced))
                with file.path.open("r+b") as raw:
                    raw.truncate(min(kept, size))
                    if kept > file.synced and rng.random() < 0.5:
                        raw.seek(rng.randint(file.synced, kept - 1))
                        raw.write(b"\0")
        self.files = []
