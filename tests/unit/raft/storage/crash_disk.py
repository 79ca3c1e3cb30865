"""A disk that forgets at a crash what was not synced, and may keep a torn part of the last write."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rstore_replica.raft.storage.disk import DiskFile, LocalDisk, LocalFile

T = TypeVar("T")


class CrashFile(LocalFile):
    """Knows how much of it has been synced."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path
        self.synced = self.size()

    def sync(self) -> None:
        self.synced = self.size()

    def truncate(self, size: int) -> None:
        super().truncate(size)
        self.synced = min(self.synced, size)


class CrashDisk(LocalDisk):
    """Files below real directories; work given to :meth:`run` is done at once."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[CrashFile] = []

    def open(self, path: Path) -> DiskFile:
        file = CrashFile(path)
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
