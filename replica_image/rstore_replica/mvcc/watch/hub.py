"""All watches of one replica: who has been shown what, and who is shown what next.

Watchers that have been shown the same revisions are a *cohort*: what comes next is read once and matched once for all
of them. In the usual case there is one, which waits for the next revision. A watcher that begins in the past, or has
not taken what it was shown, is in a cohort further back, which catches up in slices and becomes one with the cohort
that it reaches; one that waits for a revision to come is in a cohort further on.

Nothing here does I/O or knows the time: rows are read by a function, what is shown goes to sinks, and :meth:`Hub.work`
is a generator that pauses often, so that its caller decides for how long it goes on.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import NamedTuple, Protocol

from rstore_api.domain.epochs import History, is_left_out, parent_of
from rstore_api.domain.forks import Chain, fork_revision

from rstore_replica.mvcc.watch.events import JOINED_EVENTS, Batch, Want
from rstore_replica.mvcc.watch.ranges import Group, RangeIndex, Span
from rstore_replica.mvcc.watch.reader import Match, Part

PART_ROWS = 256
"""Rows read at a time, without a pause."""
PART_BYTES = 1 << 20
SLICE_ROWS = 512
"""A cohort goes on to the next revision in the same slice while it has read fewer rows than this, and fewer bytes."""
SLICE_BYTES = 1 << 20
PREVIOUS_BYTES = 16 << 20
"""Of the values that were there before the changes of one slice; beyond it changes come without them."""
MATCHES_AT_ONCE = 4096
"""Changes sorted by watchers without a pause."""
BATCHES_AT_ONCE = 32
"""Batches handed to sinks without a pause."""
WATCHERS_AT_ONCE = 512
"""Watchers that are handed the same batch without a pause."""


class Sink(Protocol):
    """Where a watcher's events go: the stream of a client."""

    def deliver(self, watchers: Sequence[Watcher], batch: Batch) -> int:
        """Takes what each of the watchers, which are one audience, wants of a batch. Returns for how many of them, from
        the first on, there was room: nothing was taken for the others.
        """

    def cancelled(self, watcher: Watcher, compact_revision: int) -> None:
        """The watcher has ended: revisions that it has not been shown are gone, those from ``compact_revision`` on are
        there.
        """


@dataclass(eq=False, slots=True)
class Watcher:
    """One watch of a client."""

    sink: Sink
    number: int
    """The client's id of it, within its stream."""
    span: Span
    want: Want
    id_field: bytes = b""
    """Its number as its sink sends it."""
    fragment: bool = False
    notify_progress: bool = False
    next_revision: int = 0
    """Where to go on from once there is room; while it is in a cohort the cohort's counts."""
    cohort: Cohort | None = None


class Audience(NamedTuple):
    """The watchers of a span that are sent the same by the same sink, but for their numbers."""

    sink: Sink
    want: Want
    fragment: bool


def audience_of(watcher: Watcher) -> Audience:
    """Returns the audience that a watcher belongs to."""
    return Audience(watcher.sink, watcher.want, watcher.fragment)


@dataclass(eq=False, slots=True)
class Cohort:
    """Watchers that have been shown everything below ``next_revision``, and nothing from there on."""

    next_revision: int
    order: int
    """Among those of the same revision."""
    index: RangeIndex[Watcher] = field(default_factory=RangeIndex)
    busy: bool = False
    """Whether it is being shown revisions from ``next_revision`` on. Nobody may join then."""

    @property
    def place(self) -> tuple[int, int]:
        """The order among cohorts."""
        return self.next_revision, self.order

    def add(self, watcher: Watcher) -> None:
        """Takes a watcher in, which is in no other cohort."""
        watcher.cohort = self
        self.index.add(watcher.span, watcher)

    def match(self, key: bytes) -> tuple[list[Group[Watcher]], bool]:
        """Returns the groups of watchers of a key, and whether one of them wants what was there before."""
        groups = self.index.match(key)
        if not groups:
            return groups, False
        return groups, any(audience.want.prev_kv for group in groups for audience in group.sorted_by(audience_of))


class Read(Protocol):
    """How the hub gets at rows (``mvcc.machine.Machine.changes``)."""

    def __call__(
        self,
        start: tuple[int, int],
        end: int,
        match: Match[Group[Watcher]],
        *,
        max_rows: int,
        max_bytes: int,
        max_previous_bytes: int,
    ) -> Part[Group[Watcher]]:
        """See ``reader.read_part``."""


class Hub:
    """The watchers of one replica. For one event loop; every method may be called between two steps of ``work``."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._cohorts: list[Cohort] = []
        self._orders = count()
        self._parked: dict[Sink, dict[Watcher, None]] = {}
        self._history: History = ()
        self._revision = 0
        self._data_id = 0
        self._shown = 0
        self._changes = 0
        self._sound_to = sys.maxsize
        """Up to where what has been read for the present slice is in the data still."""
        self._lowest_next = False
        self._ends = 0
        """How many watchers, or cohorts of them, have been removed."""

    # ------------------------------------------------------------------ what there is

    @property
    def shown(self) -> int:
        """The revision up to which watchers may be shown everything; 0 while that is not known."""
        return self._shown

    @property
    def watching(self) -> bool:
        """Whether there is any watcher that is not parked."""
        return bool(self._cohorts)

    @property
    def needed_revision(self) -> int | None:
        """The revision that the foremost watchers, which are hardly behind, need next; None when there are none."""
        reached = bisect_left(self._cohorts, (self._revision + 2, -1), key=lambda cohort: cohort.place)
        return self._cohorts[reached - 1].next_revision if reached else None

    def refresh(self, history: History, revision: int, data_id: int) -> None:
        """Takes in what the data are now. Watchers that were shown revisions which are not in them any more end."""
        before, last = self._history, self._revision
        same = history is before or history == before
        extends = revision >= last and (same or _extends(history, before, last))
        if not extends or data_id != self._data_id:
            self._changes += 1
        self._history, self._revision, self._data_id = history, revision, data_id
        if not extends and last:
            self._leave_tail(before, last)
        if not same:
            self._end_left_out()

    def _leave_tail(self, before: History, last: int) -> None:
        """Ends watchers that may have been shown what is above the last revision that old and new data share."""
        fork = fork_revision(Chain.of(before, last), Chain.of(self._history, self._revision))
        self._shown = min(self._shown, fork)
        self._sound_to = min(self._sound_to, fork)
        compacted = fork + 1
        if self._history and self._history[-1].first_revision > fork:
            compacted = self._history[-1].first_revision
        watchers = [watcher for cohort in self._cohorts for watcher in cohort.index]
        watchers += [watcher for parked in self._parked.values() for watcher in parked]
        for watcher in watchers:
            # A cohort that is being shown something counts for its watchers one by one.
            reached = watcher.next_revision
            if watcher.cohort is not None:
                reached = max(reached, watcher.cohort.next_revision)
            if fork < reached - 1 <= last:
                self.remove(watcher)
                watcher.sink.cancelled(watcher, compacted)

    def _end_left_out(self) -> None:
        """Ends watchers that wait for, or go on from, a revision that the history has left out."""
        for cohort in list(self._cohorts):
            if is_left_out(self._history, cohort.next_revision - 1):
                self._end(cohort, self._history[-1].first_revision)

    def advance(self, shown: int) -> None:
        """From now on everything up to ``shown`` may be shown; it never goes back but by :meth:`refresh`."""
        self._shown = max(self._shown, min(shown, self._revision))

    # ------------------------------------------------------------------ watchers

    def add(self, watcher: Watcher, next_revision: int) -> None:
        """Begins a watch with ``next_revision``. It may end at once, when that is not in the history."""
        watcher.next_revision = next_revision
        if is_left_out(self._history, next_revision - 1):
            watcher.sink.cancelled(watcher, self._history[-1].first_revision)
        else:
            self._cohort_at(next_revision).add(watcher)

    def remove(self, watcher: Watcher) -> None:
        """Ends a watch; nothing more is shown to it."""
        self._ends += 1
        cohort, watcher.cohort = watcher.cohort, None
        if cohort is not None:
            cohort.index.discard(watcher.span, watcher)
            if not cohort.index and not cohort.busy:
                self._take_out(cohort)
            return
        parked = self._parked.get(watcher.sink)
        if parked is not None:
            parked.pop(watcher, None)
            if not parked:
                del self._parked[watcher.sink]

    def resume(self, sink: Sink) -> None:
        """The sink has room again: its watchers go on where they stopped."""
        cohort: Cohort | None = None
        for watcher in self._parked.pop(sink, ()):
            if cohort is not None and cohort.next_revision == watcher.next_revision:
                cohort.add(watcher)
            else:
                self.add(watcher, watcher.next_revision)
                cohort = watcher.cohort

    def is_synced(self, watcher: Watcher) -> bool:
        """Whether the watcher has been shown everything up to :attr:`shown`."""
        return watcher.cohort is not None and watcher.cohort.next_revision > self._shown

    def _park(self, watcher: Watcher, next_revision: int) -> None:
        cohort, watcher.cohort = watcher.cohort, None
        if cohort is not None:
            cohort.index.discard(watcher.span, watcher)
        watcher.next_revision = next_revision
        self._parked.setdefault(watcher.sink, {})[watcher] = None

    def _end(self, cohort: Cohort, compact_revision: int) -> None:
        self._take_out(cohort)
        self._ends += 1
        for watcher in list(cohort.index):
            cohort.index.discard(watcher.span, watcher)
            watcher.cohort = None
            watcher.sink.cancelled(watcher, compact_revision)

    # ------------------------------------------------------------------ cohorts

    def _cohort_at(self, next_revision: int) -> Cohort:
        at = bisect_left(self._cohorts, (next_revision, -1), key=lambda cohort: cohort.place)
        while at < len(self._cohorts) and self._cohorts[at].next_revision == next_revision:
            if not self._cohorts[at].busy:
                return self._cohorts[at]
            at += 1
        cohort = Cohort(next_revision, next(self._orders))
        self._put(cohort)
        return cohort

    def _put(self, cohort: Cohort) -> None:
        at = bisect_left(self._cohorts, cohort.place, key=lambda other: other.place)
        self._cohorts.insert(at, cohort)

    def _take_out(self, cohort: Cohort) -> None:
        at = bisect_left(self._cohorts, cohort.place, key=lambda other: other.place)
        if at < len(self._cohorts) and self._cohorts[at] is cohort:
            del self._cohorts[at]

    def _choose(self) -> Cohort | None:
        """The one furthest on and the one furthest back in turn, of those that something may be shown to."""
        behind = bisect_left(self._cohorts, (self._shown + 1, -1), key=lambda cohort: cohort.place)
        if not behind:
            return None
        self._lowest_next = not self._lowest_next
        return self._cohorts[0 if self._lowest_next else behind - 1]

    # ------------------------------------------------------------------ work

    def work(self) -> Iterator[None]:
        """Shows everything that may be shown to everybody who has room; pauses after each small step.

        It ends when nothing is left to do at that moment. One at a time.
        """
        while (cohort := self._choose()) is not None:
            cohort.busy = True
            moved = False
            try:
                moved = yield from self._show_slice(cohort)
            finally:
                self._settle(cohort)
            if not moved:
                return
            yield

    def _settle(self, cohort: Cohort) -> None:
        """The cohort has been moved; it becomes one with another that is where it is now."""
        cohort.busy = False
        if not cohort.index:
            self._take_out(cohort)
            return
        other = next(
            (each for each in self._at(cohort.next_revision) if each is not cohort and not each.busy),
            None,
        )
        if other is not None:
            small, large = sorted((cohort, other), key=lambda each: len(each.index))
            self._take_out(small)
            for watcher in small.index:
                large.add(watcher)

    def _at(self, next_revision: int) -> Iterator[Cohort]:
        at = bisect_left(self._cohorts, (next_revision, -1), key=lambda cohort: cohort.place)
        while at < len(self._cohorts) and self._cohorts[at].next_revision == next_revision:
            yield self._cohorts[at]
            at += 1

    def _show_slice(self, cohort: Cohort) -> Generator[None, None, bool]:
        """Shows the next revisions to a cohort, as far as the next cohort. False when it cannot go on now."""
        begin, changes = cohort.next_revision, self._changes
        self._sound_to = sys.maxsize
        further = bisect_left(self._cohorts, (begin + 1, -1), key=lambda each: each.place)
        end = self._shown
        if further < len(self._cohorts):
            end = min(end, self._cohorts[further].next_revision - 1)
        collected: dict[Group[Watcher], Batch] = {}
        at = (begin, 0)
        rows = size = previous = 0
        while True:
            part = self._read(
                at,
                end,
                cohort.match,
                max_rows=PART_ROWS,
                max_bytes=PART_BYTES,
                max_previous_bytes=PREVIOUS_BYTES - previous,
            )
            if part.data_id != self._data_id:
                return False  # the news of it is on its way
            if not part.next_revision:
                self._end(cohort, part.whole_from)
                return True
            yield from _collect(part, collected)
            if self._changes != changes or not cohort.index:
                return True
            at = (part.next_revision, part.next_sub)
            rows, size, previous = rows + part.rows, size + part.size_bytes, previous + part.previous_bytes
            if at[0] > end or (at[1] == 0 and (rows >= SLICE_ROWS or size >= SLICE_BYTES)):
                break
            yield
            if self._changes != changes or not cohort.index:
                return True
        last = at[0] - 1
        if (yield from self._hand_out(cohort, last, collected)) and cohort.index:
            self._take_out(cohort)
            cohort.next_revision = last + 1
            self._put(cohort)
        return True

    def _hand_out(
        self, cohort: Cohort, last: int, collected: dict[Group[Watcher], Batch]
    ) -> Generator[None, None, bool]:
        """Shows the cohort what was read up to revision ``last``. False when that is not in the data any more."""
        steps, ends = 0, self._ends
        served: list[list[Watcher]] = []
        """Since the last pause: until then it cannot matter that the cohort's revision is older than theirs."""
        for group, batch in collected.items():
            batch.revision = last
            for audience, members in group.sorted_by(audience_of).items():
                for at in range(0, len(members), WATCHERS_AT_ONCE):
                    watchers = members if len(members) <= WATCHERS_AT_ONCE else members[at : at + WATCHERS_AT_ONCE]
                    if self._ends != ends:  # during a pause
                        watchers = [each for each in watchers if each.cohort is cohort]
                    taken = audience.sink.deliver(watchers, batch) if watchers else 0
                    if taken < len(watchers):
                        for watcher in watchers[taken:]:
                            self._park(watcher, cohort.next_revision)
                        watchers = watchers[:taken]
                    served.append(watchers)
                    steps += 1 + taken * BATCHES_AT_ONCE // WATCHERS_AT_ONCE
                    if steps >= BATCHES_AT_ONCE:
                        for watcher in chain.from_iterable(served):
                            watcher.next_revision = last + 1
                        served.clear()
                        steps = 0
                        yield
                        if self._sound_to < last:
                            return False
        return True


def _extends(history: History, before: History, last: int) -> bool:
    """Whether what follows ``before`` in the history goes on from the revision ``last``, or from a later one."""
    added = history[len(before) :]
    return history[: len(before)] == before and bool(added) and parent_of(added[0]) >= last


def _collect(part: Part[Group[Watcher]], collected: dict[Group[Watcher], Batch]) -> Generator[None, None, None]:
    """Sorts changes by the groups of watchers that they matter to."""
    steps = 0
    for groups, change in part.changes:
        for group in groups:
            batch = collected.get(group)
            if batch is None:
                batch = collected[group] = Batch()
            batch.changes.append(change)
            if len(batch.changes) == JOINED_EVENTS:
                batch.encode({audience.want for audience in group.sorted_by(audience_of)})
                yield
        steps += len(groups)
        if steps >= MATCHES_AT_ONCE:
            steps = 0
            yield
