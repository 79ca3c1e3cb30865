"""What a journal says, in memory: where each entry lies, and all that is not an entry."""

from __future__ import annotations

from collections import OrderedDict

from rstore_replica.raft.membership import MembershipHistory, decode
from rstore_replica.raft.storage import records
from rstore_replica.raft.storage.records import Kind, Record
from rstore_replica.raft.storage.segments import Segment, Slot
from rstore_replica.raft.types import JournalDamaged


class LogImage:
    """Grows by :meth:`_replay` at the opening, then by what :class:`.journal.Journal` writes."""

    def __init__(self, cache_bytes: int) -> None:
        """``cache_bytes`` bounds the commands kept in memory."""
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0
        self._slots: list[Slot] = [Slot(0, None, 0, 0)]
        self._first = 1
        self.base_applied = 0
        """Highest index whose effect may be found only in the state machine, not in this log."""
        self.memberships = MembershipHistory()
        """Who belongs to the group, as far as the log says; see :mod:`rstore_replica.raft.membership`."""
        self.identity = 0
        """This replica's identity, see :mod:`rstore_replica.raft.membership`."""
        self.current_term = 0
        self.voted_for: str | None = None
        self._commit = 1
        self._kept_from = 1
        """Where the log should begin by its own account; only a lost segment lets it begin later."""
        self._segments: list[Segment] = []

    @property
    def first_index(self) -> int:
        """Index of the anchor; entries after it can be read."""
        return self._first

    @property
    def last_index(self) -> int:
        """Index of the newest entry."""
        return self._first + len(self._slots) - 1

    @property
    def last_term(self) -> int:
        """Term of the newest entry."""
        return self._slots[-1].term

    @property
    def commit_index(self) -> int:
        """The commit index, never above the log's end."""
        return min(self._commit, self.last_index)

    def term_at(self, index: int) -> int | None:
        """Term of the entry; None when the log does not hold it."""
        if self._first <= index <= self.last_index:
            return self._slots[index - self._first].term
        return None

    def size_between(self, first: int, last: int) -> int:
        """Bytes of the commands of entries ``first`` to ``last``."""
        return sum(slot.size for slot in self._slots[max(0, first - self._first) : last - self._first + 1])

    def _remember(self, index: int, command: bytes) -> None:
        self._cache[index] = command
        self._cached += len(command)
        while self._cached > self._cache_bytes and len(self._cache) > 1:
            self._cached -= len(self._cache.popitem(last=False)[1])

    def _forget(self, index: int) -> None:
        command = self._cache.pop(index, None)
        if command is not None:
            self._cached -= len(command)

    def _drop_from(self, index: int) -> None:
        for dropped in range(index, self.last_index + 1):
            self._forget(dropped)
        del self._slots[max(0, index - self._first) :]
        self.memberships.truncated(index)

    def _set_base(self, first_index: int, base_applied: int) -> None:
        for dropped in range(self._first, first_index):
            self._forget(dropped)
        del self._slots[: first_index - self._first]
        self._first = first_index
        self.base_applied = max(self.base_applied, base_applied)
        self.memberships.begins(first_index)

    def _set_reset(self, index: int, term: int, base_applied: int, members: bytes) -> None:
        self._cache.clear()
        self._cached = 0
        self._slots = [Slot(term, None, 0, 0)]
        self._first = index
        self.base_applied = base_applied
        self.memberships = MembershipHistory()
        self.memberships.set_base(decode(members) if members else None)

    def _replay(self, segment: Segment, record: Record, offset: int) -> None:
        if record.kind is Kind.ENTRY:
            index, term = records.unpack_numbers(record.payload, 2)
            if not self._slots or (len(self._slots) == 1 and not self._segments and index > self.last_index + 1):
                # The oldest segment left begins inside the log: what it follows was compacted away.
                self._slots, self._first = [], index
            elif index != self.last_index + 1:
                raise JournalDamaged(f"{segment.path}: entry {index} at offset {offset} follows {self.last_index}")
            size = len(record.payload) - 16
            self._slots.append(Slot(term, segment, record.payload_offset + 16, size))
            segment.highest_index = max(segment.highest_index, index)
            self._remember(index, record.payload[16:])
            self.memberships.appended(index, record.payload[16:])
        elif record.kind is Kind.STATE:
            (self.current_term,) = records.unpack_numbers(record.payload, 1)
            self.voted_for = record.payload[8:].decode() or None
        elif record.kind is Kind.COMMIT:
            self._commit = max(self._commit, records.unpack_numbers(record.payload, 1)[0])
        elif record.kind is Kind.TRUNCATE:
            self._drop_from(records.unpack_numbers(record.payload, 1)[0])
        elif record.kind is Kind.BASE:
            first_index, base_applied = records.unpack_numbers(record.payload, 2)
            self._kept_from = first_index
            if self._first < first_index <= self.last_index:
                self._set_base(first_index, base_applied)
            self.base_applied = max(self.base_applied, base_applied)
            if len(record.payload) > 16:
                self.memberships.set_base(decode(record.payload[16:]))
        elif record.kind is Kind.IDENTITY:
            (self.identity,) = records.unpack_numbers(record.payload, 1)
        elif record.kind is Kind.RESET:
            index, term, base_applied = records.unpack_numbers(record.payload, 3)
            self._set_reset(index, term, base_applied, record.payload[24:])
            self._commit = self._kept_from = index
