"""How many keys ranges hold: counted once, and from then on kept up to date by what has changed since.

etcd's ``count`` is of all keys in the range, also where a ``limit`` returns a few of them. To count a million keys
takes a tenth of a second, and a client that reads them in pages asks for it with every page. So the counts of large
ranges are remembered with the revision that they are of, and so is the count of what follows a page. The rows between
that revision and another say by how much the count differs: a put of version 1 is a key more, a deletion one less. The
answer is exact, whatever is remembered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from rstore_api import rows
from rstore_api.domain.epochs import is_left_out
from rstore_api.domain.limits import SHORT_KEY_BYTES

from rstore_replica.mvcc.data import layout
from rstore_replica.mvcc.data.reader import Reader

MAX_RANGES = 1024
LEAST_KEYS = 1024
"""Smaller ranges are counted faster than they are looked up."""
KEYS_PER_ROW = 8
"""So many keys are counted in the time that one row takes."""
STEP_ROWS = 256
LARGE_ROW_BYTES = 1 << 14
"""A row takes the time of one more for each so many bytes."""

_Range = tuple[bytes, bytes | None]


class _Count(NamedTuple):
    generation: int
    revision: int
    keys: int


class View(NamedTuple):
    """What a range is read from: a reader, and the position that belongs to what it sees."""

    reader: Reader
    revision: int | None
    """None: the newest."""
    newest: int
    compact_revision: int
    generation: int = 0

    @property
    def at(self) -> int:
        """The revision that is read."""
        return self.newest if self.revision is None else self.revision


class RangeCounts:
    """The counts of the ranges that were asked for last. Used by any thread."""

    def __init__(self, max_ranges: int = MAX_RANGES) -> None:
        """With ``max_ranges`` 0 nothing is remembered."""
        self._max_ranges = max_ranges
        self._lock = threading.Lock()
        self._counts: OrderedDict[_Range, _Count] = OrderedDict()

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._counts.clear()

    def count(self, view: View, start: bytes, end: bytes | None, pace: Callable[[], None]) -> int:
        """Returns how many keys [start, end) holds. ``pace`` is called at each step, and may wait."""
        keys = self.recall(view, start, end, pace)
        if keys is None:
            keys = view.reader.count(start, end, view.revision, pace)
            self.remember(view, start, end, keys)
        return keys

    def remember(self, view: View, start: bytes, end: bytes | None, keys: int) -> None:
        """Remembers that [start, end) holds so many keys."""
        longest = SHORT_KEY_BYTES + 1
        if not self._max_ranges or keys < LEAST_KEYS or len(start) > longest or len(end or b"") > longest:
            return
        with self._lock:
            self._counts[start, end] = _Count(view.generation, view.at, keys)
            self._counts.move_to_end((start, end))
            if len(self._counts) > self._max_ranges:
                self._counts.popitem(last=False)

    def recall(self, view: View, start: bytes, end: bytes | None, pace: Callable[[], None]) -> int | None:
        """As :meth:`count`; None where it is faster to count the keys."""
        if not self._max_ranges:
            return None
        with self._lock:
            count = self._counts.get((start, end))
        if count is None or not self._is_of_this_line(count, view):
            return None
        older, newer = sorted((count.revision, view.at))
        if older == newer:
            return count.keys
        change = _change(view.reader, start, end, older, newer, count.keys // KEYS_PER_ROW, pace)
        if change is None:
            return None
        keys = count.keys + (change if newer == view.at else -change)
        self.remember(view, start, end, keys)
        return keys

    def _is_of_this_line(self, count: _Count, view: View) -> bool:
        """Whether the rows between the two revisions are there, and lead from one to the other."""
        return (
            count.generation == view.generation
            and view.compact_revision <= min(count.revision, view.at)
            and count.revision <= view.newest
            and not is_left_out(view.reader.history(), count.revision)
        )


NO_COUNTS = RangeCounts(0)
"""Remembers nothing."""


def _change(
    reader: Reader, start: bytes, end: bytes | None, older: int, newer: int, max_rows: int, pace: Callable[[], None]
) -> int | None:
    """Returns how many keys more [start, end) holds at the revision ``newer`` than at ``older``.

    None when that takes longer than ``max_rows`` rows do.
    """
    change = 0
    with reader.transaction.cursor(reader.store.rows) as cursor:
        if not cursor.set_range(layout.ROW_KEY.pack(older + 1, 0)):
            return 0
        found = cursor.iternext(keys=True, values=True)
        behind = layout.ROW_KEY.pack(newer + 1, 0)
        while step := list(islice(found, STEP_ROWS)):
            for row_key, body in step:
                if row_key >= behind:
                    return change
                _, flags, key_bytes, _, version, _ = rows.BODY_HEADER.unpack_from(body)
                max_rows -= 1 + len(body) // LARGE_ROW_BYTES
                if version > 1 or flags & rows.KIND_BITS:
                    continue
                if flags & rows.LONG_KEY:
                    key = rows.key_of(body)
                else:
                    key = body[rows.BODY_HEADER_BYTES : rows.BODY_HEADER_BYTES + key_bytes]
                if start <= key and (end is None or key < end):
                    change += -1 if flags & rows.FLAG_DELETION else 1
            if max_rows <= 0:
                return None
            pace()
    return change
