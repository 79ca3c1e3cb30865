"""A disk of a given size: beyond it an append gets as much in as fits, and then fails as the system's would."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from rstore_replica.raft.storage.disk import DiskFile, LocalDisk, LocalFile


class FullDisk(LocalDisk):
    """``room_bytes`` is what may still be appended; None: anything. What is removed or cut is not given back."""

    def __init__(self) -> None:
        super().__init__()
        self.room_bytes: int | None = None

    def open(self, path: Path) -> DiskFile:
        return _File(path, self)

    def fill(self, room_bytes: int = 0) -> None:
        self.room_bytes = room_bytes

    def empty(self) -> None:
        self.room_bytes = None


class _File(LocalFile):
    def __init__(self, path: Path, disk: FullDisk) -> None:
        if disk.room_bytes == 0 and not path.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        super().__init__(path)
        self._disk = disk

    def append(self, data: bytes) -> None:
        if self._disk.room_bytes is None:
            super().append(data)
            return
        fits = min(len(data), self._disk.room_bytes)
        super().append(data[:fits])
        self._disk.room_bytes -= fits
        if fits < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
