"""A machine's disk that forgets at a loss of power what was not synced, and the ``Disk`` a process sees of it.

Files are real ones (the state machine writes its own), in a directory that should be in memory. Beside them the volume
knows how much of each file is durable, and how to take back each change of a directory that was not made durable.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sim.process import Process, ProcessDied

T = TypeVar("T")

PAGE_BYTES = 4096
FLAGS_OFFSET = 10
LEAF_FLAG = 2
FREE_ROOT_OFFSET = 80
"""In a page that describes the whole file."""


def no_room(path: Path) -> OSError:
    """As the system says it."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def disk_error(error: BaseException | None) -> OSError | None:
    """What a disk that is full, or that could not write, has reported to a process that ends by it; None: neither."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO):
            return error
        error = error.__cause__
    return None


def leaves(data: bytes) -> set[int]:
    """Where in an LMDB file leaves are; without those of its list of free pages, for which it ends the process."""
    free_roots = {int.from_bytes(data[at + FREE_ROOT_OFFSET :][:8], "little") for at in (0, PAGE_BYTES)}
    return {
        at
        for at in range(2 * PAGE_BYTES, len(data), PAGE_BYTES)
        if data[at + FLAGS_OFFSET] & LEAF_FLAG and at // PAGE_BYTES not in free_roots
    }


class Volume:
    """What outlives the processes of one machine."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.root = root
        self._trash = root.with_name(root.name + ".removed")
        self._rng = rng
        self._removed = 0
        self._busy_until = 0.0
        self.sync_seconds = (0.0005, 0.004)
        """Range of what a sync takes."""
        self.aside_seconds = (0.001, 0.02)
        """Range of what a long piece of work takes."""
        self.synced: dict[Path, int] = {}
        self.undo: dict[Path, list[Callable[[], None]]] = {}
        self.unsynced_trees: dict[Path, bool] = {}
        self.limits: dict[Path, int] | None = None
        self.failing_syncs = 0
        """The number of next syncs of a file that fail."""
        self.failed_syncs = 0
        self.holes: dict[Path, tuple[int, int]] = {}
        """What a failed sync was to write: in the page cache, marked clean, and on no disk; from where to where."""
        self.unreported: set[Path] = set()
        """Files of which the next sync reports that something could not be written; the live data as one."""
        self.live_data = root / "mvcc"
        """What the state machine writes past the ``Disk``."""
        self._written_back: dict[Path, bytes] = {}
        self.live_data_lost = False
        """Whether pages of the live data are in the page cache only, marked clean."""
        self.room_bytes: int | None = None
        """What may still be written; None: anything. What is removed is given back."""
        root.mkdir(parents=True)
        self._trash.mkdir()

    @property
    def full(self) -> bool:
        """Whether nothing can be written."""
        return self.room_bytes is not None and self.room_bytes <= 0

    def use(self, size: int) -> int:
        """Takes so many bytes, or what there is of them; how many. Negative: gives them back."""
        if self.room_bytes is None:
            return size
        taken = min(size, max(0, self.room_bytes))
        self.room_bytes -= taken
        return taken

    def empty(self) -> None:
        """All is gone; no process may be there."""
        for directory in (self.root, self._trash):
            shutil.rmtree(directory)
            directory.mkdir()
        self.synced.clear()
        self.undo.clear()
        self.unsynced_trees.clear()
        self.holes.clear()
        self.unreported.clear()
        self.renew_live_data()

    def note(self, path: Path, undo: Callable[[], None]) -> None:
        """The entry ``path`` of its directory was changed; ``undo`` is how a loss of power takes it back."""
        self.undo.setdefault(path.parent, []).append(undo)

    def wrote_back(self, path: Path, size: int) -> None:
        """A sync of the file's first ``size`` bytes. One that fails leaves them clean: later ones do not write them.

        Then ``synced`` stays where the hole begins, whatever is synced behind it.
        """
        start = self.synced.get(path, 0)
        self.report(path)
        if self.failing_syncs > 0 and size > start:
            self.failing_syncs -= 1
            self.failed_syncs += 1
            self.holes[path] = (self.holes.get(path, (start, 0))[0], size)
            self.live_data_lost = True  # and the process was told by this, or by a sync of that, never again
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        if path not in self.holes:
            self.synced[path] = max(size, start)

    def rewrote(self, path: Path, offset: int, size: int) -> None:
        """The file's bytes from ``offset`` to ``size`` were written again, so a sync does write them."""
        start, end = self.holes.get(path, (size, size))
        if offset <= start and end <= size:
            self.holes.pop(path, None)
        self.wrote_back(path, size)  # reports also what was written in vain before

    def report(self, path: Path) -> None:
        """Raises OSError where something of the file could not be written, and nobody was told so yet."""
        if path in self.unreported:
            self.unreported.discard(path)
            self.failed_syncs += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def fail_write_back(self) -> None:
        """The system writes what is dirty, as it does after a while, and cannot. Processes learn that by a sync."""
        for path, synced in self.synced.items():
            size = path.stat().st_size if path.is_file() else 0
            if size > synced:
                self.holes[path] = (synced, size)
                self.unreported.add(path)
        if not self.live_data_lost:
            self.live_data_lost = True
            self.unreported.add(self.live_data)

    def renew_live_data(self) -> None:
        """The live data is in files that are new, and on the disk."""
        self.live_data_lost = False
        self.unreported.discard(self.live_data)
        self._written_back = {}

    def write_back(self) -> None:
        """The system writes what is dirty of the live data."""
        self._written_back = {file: file.read_bytes() for file in self._live_files()}

    def _live_files(self) -> list[Path]:
        return sorted(self.live_data.rglob("data.mdb"))

    def spoil_live_data(self) -> None:
        """What is read of the live data is noise, or of another time in some leaves of its trees."""
        for file in self._live_files():
            data, before = file.read_bytes(), self._written_back.get(file, b"")
            if not before or self._rng.random() < 0.3:
                file.write_bytes(self._rng.randbytes(512))
                continue
            older = [at for at in sorted(leaves(data) & leaves(before)) if self._rng.random() < 0.7]
            for at in older:
                data = data[:at] + before[at : at + PAGE_BYTES] + data[at + PAGE_BYTES :]
            file.write_bytes(data)

    def drop_caches(self) -> None:
        """The page cache is needed for something else: what is read now comes from the disk."""
        if self.live_data_lost:
            self.spoil_live_data()
            self.live_data_lost = False  # what is read is what the disk has
        for path, (start, end) in self.holes.items():
            if path.is_file():
                size = path.stat().st_size
                with path.open("r+b") as raw:
                    if end >= size:
                        raw.truncate(min(start, size))
                    else:
                        raw.seek(start)
                        raw.write(bytes(end - start))
                self.synced[path] = path.stat().st_size
        self.holes.clear()

    def to_trash(self, path: Path) -> Path:
        """Moves a removed file or directory to where it can come back from."""
        self._removed += 1
        target = self._trash / str(self._removed)
        os.replace(path, target)
        return target

    def bring_back(self, trashed: Path, path: Path) -> None:
        """A removal that was not durable: the file is there again; of a directory, what had not been removed yet."""
        if path.exists() or not trashed.exists():
            return
        if trashed.is_dir():
            for file in sorted(found for found in trashed.rglob("*") if found.is_file()):
                if self._rng.random() < 0.5:
                    file.unlink()
        os.replace(trashed, path)

    def lose_power(self) -> None:
        """Of each directory, some first part of its unsynced changes is left; of each file, what was synced and maybe
        some of the rest, maybe damaged.
        """
        rng = self._rng
        self.drop_caches()
        for changes in self.undo.values():
            kept = rng.randint(0, len(changes))
            for undo in reversed(changes[kept:]):
                undo()
        for path, synced in self.synced.items():
            if path.is_file():
                size = path.stat().st_size
                kept = synced if rng.random() < 0.5 else rng.randint(min(synced, size), size)
                with path.open("r+b") as raw:
                    raw.truncate(min(kept, size))
                    if synced < kept <= size and rng.random() < 0.5:
                        raw.seek(rng.randint(synced, kept - 1))
                        raw.write(b"\0")
        for tree in [tree for tree, unsynced in self.unsynced_trees.items() if unsynced]:
            for file in sorted(found for found in tree.rglob("*") if found.is_file()):
                os.truncate(file, rng.randint(0, file.stat().st_size))
        self.synced = {path: path.stat().st_size for path in self.synced if path.is_file()}
        self.undo.clear()
        self.unsynced_trees.clear()

    def turn(self, now: float) -> float:
        """When a sync that is asked for now is done: one at a time, in order."""
        self._busy_until = max(now, self._busy_until) + self._rng.uniform(*self.sync_seconds)
        return self._busy_until


class SimFile:
    """An open file; see :class:`rstore_replica.raft.storage.disk.DiskFile`."""

    def __init__(self, disk: SimDisk, path: Path) -> None:
        self._disk = disk
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(self, data: bytes) -> None:
        volume = self._disk.volume
        if self._disk.about_to("append"):
            os.write(self._descriptor, data[: len(data) // 2])
            self._disk.die()
        volume.synced.setdefault(self.path, 0)
        fits = volume.use(len(data))
        os.write(self._descriptor, data[:fits])
        if fits < len(data):
            raise no_room(self.path)

    def read_at(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def sync(self) -> None:
        if self._disk.about_to("sync"):
            self._disk.die()
        volume = self._disk.volume
        size = self.size()
        if volume.limits is not None:
            size = min(size, volume.limits.get(self.path, 0))
        volume.wrote_back(self.path, size)

    def rewrite(self, offset: int, data: bytes) -> None:
        if self._disk.about_to("rewrite"):
            self._disk.die()
        assert self.read_at(offset, len(data)) == data
        self._disk.volume.rewrote(self.path, offset, offset + len(data))

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        if self._disk.about_to("truncate"):
            self._disk.die()
        self._disk.volume.use(size - self.size())
        os.ftruncate(self._descriptor, size)
        volume = self._disk.volume
        start, end = volume.holes.get(self.path, (size, size))
        if size <= start:
            volume.holes.pop(self.path, None)
        else:
            volume.holes[self.path] = (start, min(end, size))
        volume.synced[self.path] = min(size, start)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class SimDisk:
    """What one process sees of the volume; see :class:`rstore_replica.raft.storage.disk.Disk`."""

    def __init__(self, volume: Volume, process: Process, rng: random.Random, crash: Callable[[], None]) -> None:
        """``crash`` ends the process (and perhaps its machine) in the middle of an operation."""
        self.volume = volume
        self._process = process
        self._rng = rng
        self._crash = crash
        self.fuse: int | None = None
        """The process dies in the operation so many from now."""

    def about_to(self, operation: str) -> bool:
        """Whether the process is to die in this operation."""
        if not self._process.alive:
            raise ProcessDied
        if self.fuse is None:
            return False
        self.fuse -= 1
        return self.fuse < 0

    def die(self) -> None:
        """Does not return."""
        self.fuse = None
        self._crash()
        raise ProcessDied

    def open(self, path: Path) -> SimFile:
        if self.about_to("open"):
            self.die()
        if not path.exists():
            if self.volume.full:
                raise no_room(path)
            self.volume.synced[path] = 0
            self.volume.note(path, lambda: path.unlink(missing_ok=True))
        else:
            self.volume.synced.setdefault(path, path.stat().st_size)
        return SimFile(self, path)

    def make_directory(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def list_directory(self, path: Path) -> list[str]:
        return sorted(os.listdir(path))

    def sync_directory(self, path: Path) -> None:
        if self.about_to("sync_directory"):
            self.die()
        self.volume.undo.pop(path, None)

    def sync_tree(self, path: Path) -> None:
        if self.about_to("sync_tree"):
            self.die()
        for file in sorted(self.volume.unreported):
            if file.is_relative_to(path):
                self.volume.report(file)
        self.volume.unsynced_trees[path] = False
        for folder, _, _ in os.walk(path):
            self.volume.undo.pop(Path(folder), None)

    def rename(self, source: Path, target: Path) -> None:
        if self.about_to("rename"):
            self.die()
        volume = self.volume
        if source.is_dir() and volume.unsynced_trees.pop(source, True):
            volume.unsynced_trees[target] = True
        os.replace(source, target)
        if source in volume.synced:
            volume.synced[target] = volume.synced.pop(source)
        if source in volume.holes:
            volume.holes[target] = volume.holes.pop(source)
        if source in volume.unreported:
            volume.unreported.discard(source)
            volume.unreported.add(target)

        def undo() -> None:
            if target.exists() and not source.exists():
                os.replace(target, source)

        volume.note(target, undo)

    def remove(self, path: Path) -> None:
        if not path.exists():
            return
        dying = self.about_to("remove")
        volume = self.volume
        if dying:
            for file in sorted(found for found in path.rglob("*") if found.is_file())[:1]:
                file.unlink()
            self.die()
        volume.use(-sum(found.stat().st_size for found in (path, *path.rglob("*")) if found.is_file()))
        trashed = volume.to_trash(path)
        synced = volume.synced.pop(path, None)
        volume.holes.pop(path, None)
        volume.unreported.discard(path)

        def undo() -> None:
            volume.bring_back(trashed, path)
            if synced is not None:
                volume.synced[path] = synced

        volume.note(path, undo)

    async def run(self, work: Callable[[], T]) -> T:
        """What is appended after the call is not made durable by it."""
        sizes = {path: path.stat().st_size for path in self.volume.synced if path.is_file()}
        await self._until(self.volume.turn(asyncio.get_running_loop().time()))
        self.volume.limits = sizes
        try:
            return work()
        finally:
            self.volume.limits = None

    async def run_aside(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        seconds = self._rng.uniform(*self.volume.aside_seconds)
        early = self._rng.random()
        await self._until(loop.time() + seconds * early)
        result = work()
        await self._until(loop.time() + seconds * (1 - early))
        return result

    async def _until(self, when: float) -> None:
        await asyncio.sleep(when - asyncio.get_running_loop().time())

    def close(self) -> None:
        """Nothing to end."""
