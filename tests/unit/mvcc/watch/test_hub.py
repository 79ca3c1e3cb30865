"""The hub against a naive model: whatever happens between its steps, each watcher gets all that it should, in order."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from rstore_api.domain.epochs import BASE_REVISION, EpochStart, History, existing
from rstore_api.proto.kv_pb2 import Event
from rstore_api.proto.rpc_pb2 import WatchResponse
from rstore_api.rows import Row
from rstore_replica.mvcc.watch import hub as hub_module
from rstore_replica.mvcc.watch.events import Batch, Change, Want
from rstore_replica.mvcc.watch.hub import Hub, Watcher, audience_of
from rstore_replica.mvcc.watch.ranges import Span
from rstore_replica.mvcc.watch.reader import Part

JUMP = 1000
KEYS = [b"a", b"b", b"ba", b"bb", b"c"]
SPANS = [
    *(Span(key, key + b"\0") for key in KEYS),
    Span(b"b", b"c"),
    Span(b"a", b"bb"),
    Span(b"\0", None),
    Span(b"bb", None),
]


@dataclass
class FakeData:
    """Rows in a list, with the history of epochs that they went through."""

    rows: list[Row] = field(default_factory=list)
    revision: int = BASE_REVISION
    history: History = (EpochStart(1, BASE_REVISION + 1, "east"),)
    whole_from: int = 0
    data_id: int = 0

    def read(
        self,
        start: tuple[int, int],
        end: int,
        match: Any,
        *,
        max_rows: int,
        max_bytes: int,
        max_previous_bytes: int,
    ) -> Part[Any]:
        part: Part[Any] = Part(self.data_id, self.whole_from)
        if start[0] < self.whole_from:
            return part
        part.next_revision = min(end, self.revision) + 1
        for row in self.rows:
            if (row.revision, row.sub) < start or row.revision > min(end, self.revision):
                continue
            if part.rows == max_rows:
                part.next_revision, part.next_sub = row.revision, row.sub
                break
            part.rows += 1
            groups, _ = match(row.key)
            if groups:
                part.changes.append((groups, Change(row)))
        return part

    def write(self, keys: list[bytes], *, deletion: bool) -> None:
        self.revision += 1
        self.rows += [
            Row(self.revision, sub, key, deletion=deletion, version=1, create_revision=1)
            for sub, key in enumerate(keys)
        ]

    def rewind(self, fork: int) -> None:
        self.rows = [row for row in self.rows if row.revision <= fork]
        self.history = tuple(start for start in self.history if start.first_revision <= fork + 1)
        self.revision = fork

    def begin_epoch(self, epoch: int, *, jump: bool) -> None:
        first = (self.revision // JUMP + 1) * JUMP if jump else self.revision + 1
        self.history = (*self.history, EpochStart(epoch, first, "west", self.revision if jump else 0))
        self.revision = first - 1


@dataclass(eq=False)
class FakeSink:
    """Takes what comes to one watcher, and holds it against what should come."""

    data: FakeData
    watcher: Watcher = field(init=False)
    start: int = 0
    shown: list[Row] = field(default_factory=list)
    shown_to: int = 0
    ended_at: int | None = None

    def deliver(self, watchers: Sequence[Watcher], batch: Batch) -> int:
        (watcher,) = watchers
        assert self.ended_at is None
        assert batch.revision > self.shown_to
        self.shown += [as_row(event) for event in WatchResponse.FromString(batch.joined(watcher.want)).events]
        self.shown_to = batch.revision
        assert self.shown == self.expected(batch.revision), "what comes is everything so far, once, in order"
        return 1

    def cancelled(self, watcher: Watcher, compact_revision: int) -> None:
        assert self.ended_at is None
        assert compact_revision > 0
        self.ended_at = compact_revision

    def expected(self, revision: int) -> list[Row]:
        return [
            msgspec.structs.replace(row, sub=0)
            for row in self.data.rows
            if self.start <= row.revision <= revision
            and self.watcher.span.holds(row.key)
            and wanted(self.watcher.want, row)
        ]


@dataclass(eq=False)
class FakeStream:
    """The sink of several watchers, with room for some deliveries."""

    sinks: dict[Watcher, FakeSink] = field(default_factory=dict)
    room: int = sys.maxsize

    def deliver(self, watchers: Sequence[Watcher], batch: Batch) -> int:
        assert len({(audience_of(watcher), watcher.span) for watcher in watchers}) == 1
        for count, watcher in enumerate(watchers):
            if not self.room:
                return count
            self.room -= 1
            self.sinks[watcher].deliver((watcher,), batch)
        return len(watchers)

    def cancelled(self, watcher: Watcher, compact_revision: int) -> None:
        self.sinks[watcher].cancelled(watcher, compact_revision)


def as_row(event: Event) -> Row:
    """What an event says; without the sub-revision, which is not in it."""
    is_deletion = event.type == Event.DELETE
    return Row(event.kv.mod_revision, 0, event.kv.key, deletion=is_deletion, version=1, create_revision=1)


def wanted(want: Want, row: Row) -> bool:
    return want.deletions if row.deletion else want.puts


class World:
    """Hub, data and watchers, and what may happen to them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.data = FakeData()
        self.hub = Hub(self.data.read)
        self.sinks: list[FakeSink] = []
        self.streams = [FakeStream()]
        self.epoch = 1
        self.count = 0
        self._work: Iterator[None] = iter(())
        self._refresh()

    def _refresh(self) -> None:
        self.hub.refresh(self.data.history, self.data.revision, self.data.data_id)

    def happen(self) -> None:
        rng, data = self.rng, self.data
        what = rng.choices(
            ["write", "show", "watch", "leave", "room", "step", "tail", "epoch", "compact", "restore"],
            [30, 20, 8, 2, 8, 40, 1.5, 1, 1, 0.5],
        )[0]
        if what == "write":
            data.write(rng.sample(KEYS, rng.choice([1, 1, 1, 3, 5])), deletion=rng.random() < 0.2)
            self._refresh()
        elif what == "show":
            self.hub.advance(data.revision - rng.choice([0, 0, 1, 4]))
        elif what == "watch":
            self._watch()
        elif what == "leave" and self.sinks:
            sink = rng.choice(self.sinks)
            if sink.ended_at is None:
                sink.ended_at = -1
                self.hub.remove(sink.watcher)
        elif what == "room":
            stream = rng.choice(self.streams)
            stream.room = 0 if stream.room else rng.choice([1, 3, 10, sys.maxsize])
            if stream.room:
                self.hub.resume(stream)
        elif what == "tail" and data.revision > BASE_REVISION:
            self._leave_tail()
        elif what == "epoch":
            self.epoch += 1
            data.begin_epoch(self.epoch, jump=rng.random() < 0.5)
            self._refresh()
        elif what == "compact":
            data.whole_from = max(data.whole_from, data.revision - rng.choice([0, 2, 10]))
        elif what == "restore":
            data.data_id += 1
            if rng.random() < 0.5:
                self.step()  # the data are others already, and the news comes later
            self._refresh()
        else:
            self.step()

    def _leave_tail(self) -> None:
        """A region rewinds, and goes on in an epoch that began elsewhere."""
        data, rng = self.data, self.rng
        fork = existing(data.history, max(BASE_REVISION, data.whole_from, data.revision - rng.choice([1, 2, 5])))
        before = data.revision
        at_once = rng.random() < 0.5
        data.rewind(fork)
        if at_once:
            self._next_epoch(before)
        self._refresh()
        for sink in self.sinks:
            if sink.ended_at is None:
                assert all(row.revision <= fork for row in sink.shown), "what was shown of a lost tail is cancelled"
                sink.shown_to = min(sink.shown_to, fork)
        if not at_once:
            self._next_epoch(before)
            self._refresh()

    def _next_epoch(self, above: int) -> None:
        self.epoch += 1
        parent = self.data.revision
        self.data.revision = max(parent, above)
        self.data.begin_epoch(self.epoch, jump=True)
        start = self.data.history[-1]
        self.data.history = (*self.data.history[:-1], start._replace(parent_revision=parent))

    def _watch(self) -> None:
        rng, data = self.rng, self.data
        oldest = data.whole_from or BASE_REVISION + 1
        start = rng.choice([0, 0, self.hub.shown + 1, rng.randint(oldest, data.revision + 5), data.revision + 3])
        start = max(oldest, start or self.hub.shown + 1)
        sink = FakeSink(data, start)
        want = rng.choice([Want(), Want(), Want(puts=False), Want(deletions=False)])
        self.count += 1
        if rng.random() < 0.3:
            self.streams.append(FakeStream())
        stream = rng.choice(self.streams)
        sink.watcher = Watcher(stream, self.count, rng.choice(SPANS), want)
        stream.sinks[sink.watcher] = sink
        self.sinks.append(sink)
        self.hub.add(sink.watcher, start)

    def step(self) -> None:
        try:
            next(self._work)
        except StopIteration:
            self._work = self.hub.work()

    def finish(self) -> None:
        """Everybody takes everything."""
        self._refresh()
        self.hub.advance(self.data.revision)
        for stream in self.streams:
            stream.room = sys.maxsize
            self.hub.resume(stream)
        for _ in self._work:
            pass
        for _ in self.hub.work():
            pass
        for sink in self.sinks:
            if sink.ended_at is None:
                assert sink.shown == sink.expected(self.data.revision), "nothing was left out"
                assert self.hub.is_synced(sink.watcher)


@pytest.mark.parametrize("seed", range(150))
def test_each_watcher_gets_everything_once_in_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(hub_module, "PART_ROWS", rng.choice([2, 3, 256]))
    monkeypatch.setattr(hub_module, "SLICE_ROWS", rng.choice([3, 10, 512]))
    monkeypatch.setattr(hub_module, "BATCHES_AT_ONCE", rng.choice([1, 2, 32]))
    monkeypatch.setattr(hub_module, "WATCHERS_AT_ONCE", rng.choice([1, 2, 512]))
    monkeypatch.setattr(hub_module, "MATCHES_AT_ONCE", rng.choice([1, 4096]))
    monkeypatch.setattr(hub_module, "JOINED_EVENTS", rng.choice([1, 2, 512]))
    world = World(rng)
    for _ in range(rng.choice([50, 300, 900])):
        world.happen()
    world.finish()


def test_watchers_of_one_revision_share_a_pass() -> None:
    data = FakeData()
    reads = 0

    def read(*arguments: Any, **bounds: Any) -> Part[Any]:
        nonlocal reads
        reads += 1
        return data.read(*arguments, **bounds)

    hub = Hub(read)
    hub.refresh(data.history, data.revision, 0)
    hub.advance(data.revision)
    sinks = [FakeSink(data, 2) for _ in range(100)]
    for number, sink in enumerate(sinks):
        sink.watcher = Watcher(sink, number, SPANS[number % len(SPANS)], Want())
        hub.add(sink.watcher, 2)
    for _ in range(10):
        data.write(KEYS, deletion=False)
        hub.refresh(data.history, data.revision, 0)
        hub.advance(data.revision)
        for _ in hub.work():
            pass
    assert reads == 10
    assert all(sink.shown == sink.expected(data.revision) for sink in sinks)


def test_a_watch_of_a_revision_that_was_left_out_ends_as_compacted() -> None:
    data = FakeData()
    data.write([b"a"], deletion=False)
    hub = Hub(data.read)
    hub.refresh(data.history, data.revision, 0)
    hub.advance(data.revision)
    waiting, resumed = FakeSink(data, data.revision + 5), FakeSink(data, data.revision + 1)
    for sink in (waiting, resumed):
        sink.watcher = Watcher(sink, 0, Span(b"\0", None), Want())
        hub.add(sink.watcher, sink.start)
    data.begin_epoch(2, jump=True)
    hub.refresh(data.history, data.revision, 0)
    first = data.history[-1].first_revision
    assert (waiting.ended_at, resumed.ended_at) == (first, None)
    late = FakeSink(data, first - 3)
    late.watcher = Watcher(late, 0, Span(b"\0", None), Want())
    hub.add(late.watcher, late.start)
    assert late.ended_at == first
