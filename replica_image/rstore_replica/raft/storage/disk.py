"""Files as an argument: the journal and the checkpoints reach the disk only through a :class:`Disk`."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from rstore_replica.raft.storage.worker import Worker

T = TypeVar("T")


class DiskFile(Protocol):
    """An open file that grows at its end."""

    def append(self, data: bytes) -> None:
        """Writes all of ``data`` at the end; not durable before :meth:`sync`."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the end of the file."""

    def sync(self) -> None:
        """Makes everything appended so far durable. After it has failed once, what this file holds is to be rewritten:
        the system may have dropped it, and a later sync succeeds all the same.
        """

    def rewrite(self, offset: int, data: bytes) -> None:
        """Writes once more what the file holds at ``offset``, and makes it durable. Needs no room."""

    def size(self) -> int:
        """Bytes in the file."""

    def truncate(self, size: int) -> None:
        """Cuts the file, durably."""

    def close(self) -> None:
        """Releases the file; does not sync."""


class Disk(Protocol):
    """A directory tree. Paths are real ones, because the state machine writes its checkpoints itself."""

    def open(self, path: Path) -> DiskFile:
        """Opens for append and read, creating the file when missing."""

    def make_directory(self, path: Path) -> None:
        """Creates the directory and its parents when missing."""

    def list_directory(self, path: Path) -> list[str]:
        """Names in the directory, sorted."""

    def sync_directory(self, path: Path) -> None:
        """Makes creations, renames and removals in the directory durable."""

    def sync_tree(self, path: Path) -> None:
        """Makes every file and directory below (and with) ``path`` durable."""

    def rename(self, source: Path, target: Path) -> None:
        """Moves atomically; durable after :meth:`sync_directory` of the parent."""

    def remove(self, path: Path) -> None:
        """Removes a file or a whole directory; nothing to do when it is missing."""

    async def run(self, work: Callable[[], T]) -> T:
        """Runs blocking work without holding up the event loop, one piece at a time in the order of the calls."""

    async def run_aside(self, work: Callable[[], T]) -> T:
        """Runs long blocking work beside what :meth:`run` does, in no particular order."""

    def close(self) -> None:
        """Ends the worker after what it has been given."""


class LocalFile:
    """A file of the machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(self, data: bytes) -> None:
        """See :class:`DiskFile`."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def read_at(self, offset: int, size: int) -> bytes:
        """See :class:`DiskFile`."""
        parts: list[bytes] = []
        while size > 0:
            part = os.pread(self._descriptor, size, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def sync(self) -> None:
        """See :class:`DiskFile`."""
        os.fdatasync(self._descriptor)

    def rewrite(self, offset: int, data: bytes) -> None:
        """See :class:`DiskFile`."""
        # By another descriptor, because this one only appends. Pages that are written again are dirty again.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def size(self) -> int:
        """See :class:`DiskFile`."""
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        """See :class:`DiskFile`."""
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """See :class:`DiskFile`."""
        os.close(self._descriptor)


class LocalDisk:
    """The machine's disk, with one worker thread for what blocks."""

    def __init__(self) -> None:
        self._worker = Worker("raft-disk")

    def open(self, path: Path) -> DiskFile:
        """See :class:`Disk`."""
        return LocalFile(path)

    def make_directory(self, path: Path) -> None:
        """See :class:`Disk`."""
        path.mkdir(parents=True, exist_ok=True)

    def list_directory(self, path: Path) -> list[str]:
        """See :class:`Disk`."""
        return sorted(os.listdir(path))

    def sync_directory(self, path: Path) -> None:
        """See :class:`Disk`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_tree(self, path: Path) -> None:
        """See :class:`Disk`."""
        for folder, _, names in os.walk(path, topdown=False):
            for name in names:
                descriptor = os.open(Path(folder) / name, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            self.sync_directory(Path(folder))

    def rename(self, source: Path, target: Path) -> None:
        """See :class:`Disk`."""
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        """See :class:`Disk`."""
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    async def run(self, work: Callable[[], T]) -> T:
        """See :class:`Disk`."""
        return await self._worker.run(work)

    async def run_aside(self, work: Callable[[], T]) -> T:
        """See :class:`Disk`."""
        return await asyncio.to_thread(work)

    def close(self) -> None:
        """See :class:`Disk`."""
        self._worker.close()
