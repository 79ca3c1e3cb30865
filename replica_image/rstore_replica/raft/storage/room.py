"""A full disk: what may still be written, and what has to wait.

A replica can do without new entries, but not without its term and vote, the beginning of a log, or the end of a
compaction. So a file of some size is kept beside the journal, given up when the disk is full, for these vital records
alone; entries are refused (:class:`DiskFull`) before anything of them is in the log, until there is room for that file
again. Nothing that was acknowledged is touched, and nothing needs a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rstore_replica.disk_full import NO_ROOM
from rstore_replica.raft.clock import Clock
from rstore_replica.raft.storage.disk import Disk, DiskFile
from rstore_replica.raft.storage.records import ENTRY_HEADER_BYTES, Kind
from rstore_replica.raft.types import COMMAND

T = TypeVar("T")

logger = logging.getLogger(__name__)

RESERVE_BYTES = 256 * 1024
RETRY_SECONDS = 0.5
_KIND_OFFSET = 2


class DiskFull(Exception):  # noqa: N818
    """There is no room for an entry; nothing of it was written."""


def means_full(error: OSError) -> bool:
    """Whether the operation may work once there is more room."""
    return error.errno in NO_ROOM


class Room:
    """Keeps track of the room on one replica's volume."""

    def __init__(self, path: Path, disk: Disk, clock: Clock) -> None:
        """``path`` of the reserve, on the volume; nothing is written before :meth:`look`."""
        self._path = path
        self._disk = disk
        self._clock = clock
        self._held = False
        self._refused = False
        self._retry_at = 0.0
        self._blocked = False
        self._apply_at = 0.0

    @property
    def reason(self) -> str:
        """Why the replica cannot take part, "" while there is room."""
        return "the disk is full, or refuses writes" if self._refused or self._blocked else ""

    def look(self) -> bool:
        """Whether entries may be tried. Looks for room, at most every :data:`RETRY_SECONDS`, when there was none."""
        now = self._clock.monotonic()
        if self._held and not self._refused:
            return True
        if now < self._retry_at:
            return False
        self._retry_at = now + RETRY_SECONDS
        probe = self._path.with_name(self._path.name + ".probe") if self._held else self._path
        fits = self._make(probe)
        if probe != self._path:
            self._disk.remove(probe)
        self._held = self._held or fits
        if fits and self._refused:
            logger.warning("raft_disk_has_room_again path=%s", self._path)
        elif not fits:
            self._note_full()
        self._refused = not fits
        return fits

    def give_up(self) -> bool:
        """Frees the reserve for a vital record; whether there was one."""
        had_reserve, self._held = self._held, False
        if had_reserve:
            self._disk.remove(self._path)
        self.refuse()
        return had_reserve

    def refuse(self) -> None:
        """Something did not fit: no entry is tried before there is room again."""
        self._note_full()
        self._retry_at = self._clock.monotonic() + RETRY_SECONDS

    def _make(self, path: Path) -> bool:
        try:
            self._disk.remove(path)
            file = self._disk.open(path)
            try:
                file.append(bytes(RESERVE_BYTES))
            finally:
                file.close()
        except OSError as error:
            if not means_full(error):
                raise
            self._disk.remove(path)
            return False
        return True

    def _note_full(self) -> None:
        if not self._refused:
            logger.error("raft_disk_full path=%s", self._path)
        self._refused = True

    def open(self, path: Path) -> DiskFile:
        """Opens a file of the journal, whose appends raise :class:`DiskFull` for an entry that does not fit."""
        return _RoomyFile(self._disk.open(path), self)

    # ------------------------------------------------------------------ applying

    @property
    def may_apply(self) -> bool:
        """Whether the state machine should be tried: not right after it found no room."""
        return not self._blocked or self._clock.monotonic() >= self._apply_at

    def apply(self, work: Callable[[], T]) -> T | None:
        """Returns what ``work`` returns; None, with :attr:`applied` False, when it changed nothing for lack of room."""
        try:
            result = work()
        except OSError as error:
            if not means_full(error):
                raise
            if not self._blocked:
                logger.error("raft_apply_waits_for_room error=%s", error)
            self._blocked = True
            self._apply_at = self._clock.monotonic() + RETRY_SECONDS
            return None
        self._blocked = False
        return result

    @property
    def applied(self) -> bool:
        """Whether the last :meth:`apply` ran to its end."""
        return not self._blocked


class _RoomyFile:
    """A file of the journal: an append leaves either all of the record or nothing of it."""

    def __init__(self, file: DiskFile, room: Room) -> None:
        self._file = file
        self._room = room
        self._size = file.size()

    def append(self, data: bytes) -> None:
        vital = data[_KIND_OFFSET] != Kind.ENTRY or data[ENTRY_HEADER_BYTES] != COMMAND[0]
        if not vital and not self._room.look():
            raise DiskFull("there is no room for another entry")
        try:
            self._file.append(data)
        except OSError as error:
            if not means_full(error):
                raise
            self._file.truncate(self._size)
            if not vital:
                self._room.refuse()
                raise DiskFull(f"an entry of {len(data)} bytes does not fit: {error}") from error
            if not self._room.give_up():
                raise
            self._file.append(data)  # a record of which a part remains stops the replica, and is cut as a torn tail
        self._size += len(data)

    def read_at(self, offset: int, size: int) -> bytes:
        return self._file.read_at(offset, size)

    def sync(self) -> None:
        self._file.sync()

    def rewrite(self, offset: int, data: bytes) -> None:
        self._file.rewrite(offset, data)

    def size(self) -> int:
        return self._size

    def truncate(self, size: int) -> None:
        self._file.truncate(size)
        self._size = size

    def close(self) -> None:
        self._file.close()
