"""Makes segments of what a region sends. Nothing here waits, writes or asks the time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import msgspec
from rstore_api import rows
from rstore_api.domain.epochs import EpochStart, History, count_at, epoch_at, epoch_of, parent_of
from rstore_api.messages import history_of
from rstore_api.proto.rstore_pb2 import FollowBegin, StreamBatch

from rstore_backup.segments import Kind, Link, Record, SegmentHeader

FIRST = "the archive was begun"


class Contradiction(Exception):  # noqa: N818 # it ends a session, which begins again
    """The region sent what does not follow what it sent before."""


@dataclass(frozen=True)
class Tip:
    """What a line of the archive ends with. All empty: there is none to go on with."""

    history: History = ()
    revision: int = 0
    time_ms: int = 0
    line_from_revision: int = 0
    link: Link | None = None
    """Of the newest segment."""
    line_because: str = ""
    """Why the line begins at ``line_from_revision``; "" where the archive does not say it any more."""
    damage: str = ""
    """Why what is there cannot be gone on with."""


@dataclass(frozen=True)
class Draft:
    """A segment that is complete but for the one that it follows."""

    header: SegmentHeader
    records: tuple[Record, ...] = ()
    forks: bool = False
    """It follows the segment that has the revision before it, not the newest one."""


class LineBuilder:
    """The line as it goes on from a tip. Segments are taken from :attr:`drafts`."""

    def __init__(self, store_id: str, tip: Tip) -> None:
        self.drafts: deque[Draft] = deque()
        self.history = tip.history
        self.revision = tip.revision
        """With :attr:`history`, what the archive has once all drafts and the open records are written."""
        self.line_from_revision = tip.line_from_revision
        self.line_because = tip.line_because
        self.lost_revisions = 0
        """How many had been compacted before they were archived."""
        self.open_bytes = 0
        self._store_id = store_id
        self._damage = tip.damage
        self._time_ms = tip.time_ms
        self._records: list[Record] = []
        self._rows = 0
        self._first_revision = 0
        self._forks = False

    @property
    def waiting_since_ms(self) -> int:
        """When the oldest row came that is in no draft taken yet; 0: there is none."""
        if self.drafts:
            return self.drafts[0].header.first_time_ms
        return self._records[0].time_ms if self._records else 0

    @property
    def open_since_ms(self) -> int:
        """When the oldest row came that is in no draft; 0: there is none."""
        return self._records[0].time_ms if self._records else 0

    def begin(self, begun: FollowBegin, now_ms: int) -> None:
        """A stream begins: where this line ends, or lower if the region has left what is above, or anew."""
        history, after = history_of(begun.history), begun.after_revision
        if not self.revision:
            self._begin_anew(history, after, self._damage or FIRST, now_ms)
        elif begun.compacted:
            because = f"revisions {begun.fork_revision + 1} to {after} were compacted before they were archived"
            self.lost_revisions += count_at(history, after) - count_at(history, begun.fork_revision)
            self._begin_anew(history, after, because, now_ms)
        elif after != self.revision or history != self.history:
            self.cut()
            self.history, self.revision = history, after
            self._forks = True

    def take(self, batch: StreamBatch, now_ms: int) -> None:
        """Takes rows, or the beginning of an epoch. Raises Contradiction."""
        now_ms = self._monotone(now_ms)
        history = history_of(batch.history)
        if batch.prev_revision != self.revision:
            raise Contradiction(f"rows after {batch.prev_revision} came, {self.revision} is the last")
        has_rows = bool(batch.rows) or batch.HasField("deleted")
        last_epoch = epoch_at(history, batch.last_revision) if has_rows else epoch_of(self.history)
        self._open_epochs(history, last_epoch, now_ms)
        if has_rows:
            self._add(batch, now_ms)
        self._open_epochs(history, epoch_of(history), now_ms)
        if self.revision != batch.last_revision:
            raise Contradiction(f"a batch up to {batch.last_revision} ends at {self.revision}")

    def cut(self) -> None:
        """What has come becomes a segment, if there is anything."""
        if not self._records:
            return
        records = tuple(self._records)
        header = self._header(records[0].after_revision, self._first_revision, self.revision, self._rows)
        times = records[0].time_ms, records[-1].time_ms
        header = msgspec.structs.replace(header, first_time_ms=times[0], last_time_ms=times[1])
        self.drafts.append(Draft(header, records, self._forks))
        self._records, self._rows, self.open_bytes, self._forks = [], 0, 0, False

    def _add(self, batch: StreamBatch, now_ms: int) -> None:
        kind = Kind.DELETED_RANGE if batch.HasField("deleted") else Kind.ROWS
        payload = batch.deleted.SerializeToString() if kind is Kind.DELETED_RANGE else batch.rows
        record = Record(kind, now_ms, self.revision, batch.last_revision, payload)
        try:
            if kind is Kind.DELETED_RANGE:
                first, count = record.deleted().revision, batch.deleted.count
            else:
                frames = record.frames(self.history)
                first, count = frames[0][0], len(frames)
        except rows.DamagedRows as error:
            raise Contradiction(str(error)) from error
        if not self._records:
            self._first_revision = first
        self._records.append(record)
        self._rows += count
        self.open_bytes += record.size_bytes
        self.revision = batch.last_revision

    def _open_epochs(self, history: History, up_to: int, now_ms: int) -> None:
        """The epochs of a history after this line's newest, up to one, have begun."""
        for number, start in enumerate(history):
            if epoch_of(self.history) < start.epoch <= up_to:
                self._open_epoch(history[: number + 1], start, now_ms)

    def _open_epoch(self, history: History, start: EpochStart, now_ms: int) -> None:
        self.cut()
        parent = parent_of(start)
        if self.revision != parent:
            raise Contradiction(f"epoch {start.epoch} follows revision {parent}, {self.revision} is the last")
        if self._forks and self.line_from_revision > parent:
            self.line_from_revision = parent
        self.history = history
        self.revision = start.first_revision - 1
        header = self._header(parent, self.revision, self.revision, 0)
        header = msgspec.structs.replace(header, first_time_ms=now_ms, last_time_ms=now_ms)
        self.drafts.append(Draft(header, forks=self._forks))
        self._forks = False

    def _begin_anew(self, history: History, after: int, because: str, now_ms: int) -> None:
        self.cut()
        now_ms = self._monotone(now_ms)
        self.history, self.revision, self.line_from_revision = history, after, after
        self.line_because, self._damage, self._forks = because, "", False
        header = self._header(after, after, after, 0)
        self.drafts.append(
            Draft(msgspec.structs.replace(header, first_time_ms=now_ms, last_time_ms=now_ms, begins_because=because))
        )

    def _header(self, after: int, first: int, last: int, count: int) -> SegmentHeader:
        return SegmentHeader(
            self._store_id, self.history, after, first, last, count, line_from_revision=self.line_from_revision
        )

    def _monotone(self, now_ms: int) -> int:
        """Returns the time, or that of the record before where the clock went back."""
        self._time_ms = max(self._time_ms, now_ms)
        return self._time_ms
