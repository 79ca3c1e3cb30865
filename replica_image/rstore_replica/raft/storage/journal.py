"""The durable log of one replica: entries, term, vote and commit index in checksummed segments.

The log always holds at least one entry; the first one only anchors the log matching of those after it. Appends reach
the file at once and are durable after :meth:`Journal.take_sync` has been run. A suffix is taken away by writing so,
never by changing what is there; a prefix goes away by whole files.

What is read at an opening comes from the system's page cache, which may hold what no disk has: of a process that was
killed before its sync, and of one whose sync failed, after which the system takes the pages for clean and later syncs
succeed (Rebello et al., "Can Applications Recover from fsync Failures?", 2020). So an opening takes for durable only
what a later record proves to have been synced, and writes the rest again before it counts.
"""

from __future__ import annotations

import errno
import logging
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from rstore_replica.raft.membership import Membership, encode
from rstore_replica.raft.storage import records
from rstore_replica.raft.storage.disk import Disk, DiskFile
from rstore_replica.raft.storage.log_image import LogImage
from rstore_replica.raft.storage.records import Kind
from rstore_replica.raft.storage.segments import Entry, PendingSync, Segment, Slot
from rstore_replica.raft.types import NO_OP, JournalDamaged

logger = logging.getLogger(__name__)

_SUFFIX = ".seg"


class Journal(LogImage):
    """Not thread-safe: all calls on the event loop, but the work of a :class:`PendingSync`."""

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        *,
        segment_bytes: int,
        cache_bytes: int,
        new_identity: int = 0,
        open_file: Callable[[Path], DiskFile] | None = None,
    ) -> None:
        """Opens the journal in ``directory``; creates it, for a replica with ``new_identity``, when there is none.

        ``open_file`` opens its files (by default ``disk`` does).
        Raises :class:`JournalDamaged` naming file and offset when something that had been made durable is not there.
        """
        self._directory = directory
        self._disk = disk
        self._open = open_file or disk.open
        self._segment_bytes = segment_bytes
        super().__init__(cache_bytes)
        self._new_identity = new_identity
        self._commit_written = 1
        self._syncing: list[Segment] = []
        self._sync_lock = threading.Lock()
        self._sync_error: Exception | None = None
        self._directory_dirty = False
        self.position = 0
        """Number of records written since opening."""
        self.synced_position = 0
        self._state_position = 0
        self._sync_last = 0
        self.durable_index = 0
        """Entries up to here survive a power loss."""
        self.total_bytes = 0
        """Bytes of entries written since opening; only differences mean something."""
        disk.make_directory(directory)
        try:
            self._recover()
        except BaseException:
            self.close()
            raise
        self.durable_index = self.last_index

    # ------------------------------------------------------------------ reading

    @property
    def dirty(self) -> bool:
        """Whether something was written that is not durable yet."""
        return self.position > self.synced_position

    @property
    def state_durable(self) -> bool:
        """Whether term and vote, as they are, survive a power loss."""
        return self.synced_position >= self._state_position

    def entry(self, index: int) -> Entry:
        """The entry, from memory or disk. ``KeyError`` when the log does not hold it; see :class:`JournalDamaged`."""
        if not self._first <= index <= self.last_index:
            raise KeyError(index)
        slot = self._slots[index - self._first]
        command = self._cache.get(index)
        if command is None:
            command = self._read(index, slot)
        return Entry(index, slot.term, command)

    def entries(self, first: int, *, max_count: int, max_bytes: int) -> list[Entry]:
        """Entries from ``first`` on, at least one if there is one, within both bounds otherwise."""
        entries: list[Entry] = []
        size = 0
        for index in range(max(first, self._first), min(first + max_count - 1, self.last_index) + 1):
            size += self._slots[index - self._first].size
            if entries and size > max_bytes:
                break
            entries.append(self.entry(index))
        return entries

    def end_of(self, index: int) -> tuple[Path, int] | None:
        """The file that holds the entry, and the offset after it; None if a checkpoint stands for it. ``KeyError``."""
        if not self._first <= index <= self.last_index:
            raise KeyError(index)
        slot = self._slots[index - self._first]
        return None if slot.segment is None else (slot.segment.path, slot.offset + slot.size)

    # ------------------------------------------------------------------ writing

    def append(self, index: int, term: int, command: bytes) -> None:
        """Adds the next entry."""
        if index != self.last_index + 1:
            raise ValueError(f"entry {index} after {self.last_index}")
        segment = self._segment_for(records.ENTRY_HEADER_BYTES + len(command))
        offset = self._write(segment, Kind.ENTRY, records.pack_entry(index, term, command))
        segment.highest_index = max(segment.highest_index, index)
        self._slots.append(Slot(term, segment, offset + records.ENTRY_HEADER_BYTES, len(command)))
        self.total_bytes += len(command)
        self._remember(index, command)
        self.memberships.appended(index, command)

    def truncate_from(self, index: int) -> None:
        """Takes the entry ``index`` and all after it away. ``ValueError`` for the anchor or a committed entry."""
        if index > self.last_index:
            return
        if index <= max(self._first, self.commit_index):
            raise ValueError(f"truncation at {index}, committed {self.commit_index}")
        self._write(self._segment_for(64), Kind.TRUNCATE, records.pack_numbers(index))
        self._drop_from(index)
        self.durable_index = min(self.durable_index, index - 1)
        self._sync_last = min(self._sync_last, index - 1)

    def set_state(self, term: int, voted_for: str | None) -> None:
        """Term and vote; nothing that depends on them may leave before they are durable."""
        if (term, voted_for) == (self.current_term, self.voted_for):
            return
        self.current_term, self.voted_for = term, voted_for
        self._write(self._segment_for(64), Kind.STATE, self._state_payload())
        self._state_position = self.position

    def found(self, membership: Membership, *, identity: int) -> None:
        """This replica is one of those with which the group begins. Durable."""
        self.identity = identity
        self.memberships.set_base(membership)
        self._write(self._segment_for(1024), Kind.BASE, self._base_payload())
        self._write(self._segment_for(64), Kind.IDENTITY, records.pack_numbers(identity))
        self._sync_now()

    def renew_identity(self, identity: int) -> None:
        """This replica is not the one any more that the others count on. Durable."""
        self.identity = identity
        self._write(self._segment_for(64), Kind.IDENTITY, records.pack_numbers(identity))
        self._sync_now()

    def set_commit(self, index: int) -> None:
        """Remembers the commit index; it reaches the file with the next sync that happens anyway."""
        self._commit = max(self._commit, index)

    def compact(self, first_index: int, base_applied: int) -> None:
        """Lets the log begin at ``first_index``. What is before must be in a checkpoint that is durable."""
        if not self._first <= first_index <= self.last_index:
            raise ValueError(f"compaction to {first_index}, log {self._first}..{self.last_index}")
        self._set_base(first_index, base_applied)
        self._write(self._segment_for(64), Kind.BASE, self._base_payload())
        self._sync_now()
        self._delete_front()

    def reset(self, index: int, term: int, base_applied: int, membership: Membership | None = None) -> None:
        """The log becomes one placeholder at ``index``: a checkpoint that is durable stands for all before. Durable.

        ``membership`` is the one in force at ``index``.
        """
        members = b"" if membership is None else encode(membership)
        self._write(self._segment_for(1024), Kind.RESET, records.pack_numbers(index, term, base_applied) + members)
        self._set_reset(index, term, base_applied, members)
        self._commit = index
        self._sync_now()
        self.durable_index = self._sync_last = index
        self._delete_front()

    def take_sync(self) -> PendingSync:
        """What makes everything written so far durable: run ``work`` anywhere, then call ``done`` on the event loop."""
        if self._commit_written < self.commit_index:
            self._commit_written = self.commit_index
            self._write(self._segments[-1], Kind.COMMIT, records.pack_numbers(self.commit_index))
        position = self.position
        segment, size = self._segments[-1], self._segments[-1].size
        sync_directory, self._directory_dirty = self._directory_dirty, False
        self._sync_last = self.last_index
        self._syncing.append(segment)

        def work() -> None:
            self._sync_file(segment)
            if sync_directory:
                self._disk.sync_directory(self._directory)

        def done() -> None:
            self._syncing.remove(segment)
            segment.synced = max(segment.synced, size)
            self.synced_position = max(self.synced_position, position)
            self.durable_index = max(self.durable_index, self._sync_last)

        return PendingSync(work, done, position)

    def close(self) -> None:
        """Releases the files. What was not synced may be lost."""
        for segment in self._segments:
            segment.file.close()
        self._segments.clear()

    # ------------------------------------------------------------------ inside

    def _sync_file(self, segment: Segment) -> None:
        """Any thread. After a sync has failed none is tried again, for it would succeed without having written."""
        with self._sync_lock:
            if self._sync_error is not None:
                raise OSError(errno.EIO, f"an earlier sync of the journal failed: {self._sync_error}")
            try:
                segment.file.sync()
            except Exception as error:
                self._sync_error = error
                raise

    def _sync_now(self) -> None:
        pending = self.take_sync()
        pending.work()
        pending.done()

    def _state_payload(self) -> bytes:
        return records.pack_numbers(self.current_term) + (self.voted_for or "").encode()

    def _base_payload(self) -> bytes:
        return records.pack_numbers(self._first, self.base_applied) + self._base_members()

    def _base_members(self) -> bytes:
        base = self.memberships.at(self._first)
        return b"" if base is None else encode(base)

    def _write(self, segment: Segment, kind: Kind, payload: bytes) -> int:
        offset = segment.size
        data = records.encode(kind, payload, synced_bytes=segment.synced)
        segment.file.append(data)
        segment.size += len(data)
        self.position += 1
        return offset

    def _segment_for(self, size: int) -> Segment:
        """The open segment; a new one when the present one is full. All but the newest are durable at any time."""
        segment = self._segments[-1]
        if segment.size > 4096 and segment.size + size > self._segment_bytes:
            self._sync_file(segment)
            segment.synced = segment.size
            segment = self._create_segment(segment.number + 1)
        return segment

    def _create_segment(self, number: int) -> Segment:
        path = self._directory / f"{number:016d}{_SUFFIX}"
        segment = Segment(number, path, self._open(path), 0)
        self._segments.append(segment)
        self._directory_dirty = True
        # Every segment begins with all that is not an entry, so that those before it can be deleted.
        head = [
            (Kind.STATE, self._state_payload()),
            (Kind.COMMIT, records.pack_numbers(self.commit_index)),
            (Kind.BASE, self._base_payload()),
            (Kind.IDENTITY, records.pack_numbers(self.identity)),
        ]
        if self._slots[0].segment is None and len(self._slots) == 1:
            anchor = records.pack_numbers(self._first, self._slots[0].term, self.base_applied)
            head.append((Kind.RESET, anchor + self._base_members()))
        self._write(segment, Kind.SEGMENT, records.pack_numbers(number, len(head)))
        for kind, payload in head:
            self._write(segment, kind, payload)
        return segment

    def _read(self, index: int, slot: Slot) -> bytes:
        if slot.segment is None:
            return NO_OP
        start = slot.offset - records.ENTRY_HEADER_BYTES
        record = records.decode(slot.segment.file.read_at(start, records.ENTRY_HEADER_BYTES + slot.size), 0)
        if record is None or records.unpack_numbers(record.payload, 2) != (index, slot.term):
            raise JournalDamaged(f"{slot.segment.path}: the record of entry {index} at offset {start} is damaged")
        return record.payload[16:]

    def _delete_front(self) -> None:
        """Deletes the oldest segments as long as they hold no entry that the log still has."""
        anchor = self._slots[0].segment
        removed = False
        while len(self._segments) > 1:
            segment = self._segments[0]
            if segment.highest_index >= self._first or segment is anchor or segment in self._syncing:
                break
            self._segments.pop(0)
            segment.file.close()
            self._disk.remove(segment.path)
            removed = True
        if removed:
            self._disk.sync_directory(self._directory)

    # ------------------------------------------------------------------ opening

    def _recover(self) -> None:
        names = [name for name in self._disk.list_directory(self._directory) if name.endswith(_SUFFIX)]
        for position, name in enumerate(names):
            self._recover_segment(self._directory / name, newest=position == len(names) - 1)
        if not self._segments:
            self.identity = self._new_identity
            self._create_segment(1)
            self._sync_now()
        else:
            self._disk.sync_directory(self._directory)
        if not self._slots:
            raise JournalDamaged(f"{self._directory}: the log has no beginning")
        if self._first > self._kept_from:
            raise JournalDamaged(
                f"{self._segments[0].path}: the segment before it is missing: at offset 0 the log should begin with "
                f"entry {self._kept_from}, it begins with {self._first}"
            )
        self._commit = max(self._commit, self._first)
        self._commit_written = self._commit

    def _recover_segment(self, path: Path, *, newest: bool) -> None:
        file = self._open(path)
        try:
            self._recover_file(path, file, newest=newest)
        except BaseException:
            file.close()
            raise

    def _recover_file(self, path: Path, file: DiskFile, *, newest: bool) -> None:
        data = file.read_at(0, file.size())
        offset = 0
        if not path.name.removesuffix(_SUFFIX).isdecimal():
            raise JournalDamaged(f"{path}: not a segment of a journal")
        segment = Segment(int(path.name.removesuffix(_SUFFIX)), path, file, len(data))
        if self._segments and segment.number != self._segments[-1].number + 1:
            raise JournalDamaged(f"{path}: the segment before it is missing")
        head_left = 1
        while offset < len(data):
            record = records.decode(data, offset)
            if record is None:
                promised = max((later.synced_bytes for later in records.records_after(data, offset)), default=0)
                if not newest or promised > offset:
                    raise JournalDamaged(f"{path}: damaged at offset {offset} of {len(data)}")
                logger.warning(
                    "raft_journal_torn_tail_cut file=%s offset=%d bytes=%d", path, offset, len(data) - offset
                )
                file.truncate(offset)
                segment.size = segment.synced = offset
                break
            try:
                if (record.kind is Kind.SEGMENT) != (offset == 0):
                    raise ValueError(f"{record.kind.name} is not what stands there")
                if record.kind is Kind.SEGMENT:
                    number, more = records.unpack_numbers(record.payload, 2)
                    if number != segment.number:
                        raise ValueError(f"it belongs to segment {number}")
                    head_left += more
                head_left -= 1
                segment.proven = max(segment.proven, record.synced_bytes)
                self._replay(segment, record, offset)
            except (struct.error, ValueError, IndexError) as error:
                raise JournalDamaged(f"{path}: a record that makes no sense at offset {offset}: {error}") from error
            offset = record.end_offset
        if newest and head_left > 0:
            # Created, but never made durable: what it was to begin with is still in the segments before it.
            file.close()
            self._disk.remove(path)
            self._disk.sync_directory(self._directory)
            return
        if newest:  # the one before it was synced before it was created
            file.rewrite(segment.proven, data[segment.proven : segment.size])
        self._segments.append(segment)
