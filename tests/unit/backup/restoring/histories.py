"""Histories of made-up stores: what there was at every revision, and the archive of it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from rstore_api import key_hash, rows
from rstore_api.domain.epochs import BASE_REVISION, EpochStart, History
from rstore_api.proto.rstore_pb2 import AuthRole, AuthUser, DeletedRange
from rstore_backup import bases, card, names, segments
from rstore_backup.bases import Manifest, PartHeader, PartInfo
from rstore_backup.card import Card
from rstore_backup.segments import Kind, Link, Record, SegmentHeader
from unit.backup.archives import STORE_ID
from unit.backup.memory_store import MemoryStore

KEYS = [b"a/%02d" % number for number in range(8)] + [b"b/%02d" % number for number in range(6)]
KEYS += [b"b/%02d" % number + b"." * 600 for number in (6, 7)]
LEASES = (5, -7, 1 << 40)
JUMP = 1000


class Stored(NamedTuple):
    """A key that exists, as a restore must bring it back."""

    value: bytes
    created: int
    modified: int
    version: int
    lease: int
    sub: int = 0
    """Its place among the changes of ``modified``."""


@dataclass(frozen=True)
class State:
    """All that there is at a revision; values of leases are seconds."""

    keys: Mapping[bytes, Stored] = field(default_factory=dict)
    leases: Mapping[int, int] = field(default_factory=dict)
    auth: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass
class Change:
    """One revision: its rows, or the range that it deleted."""

    revision: int
    rows: list[rows.Row]
    deleted: DeletedRange | None = None
    time_ms: int = 0
    """When it was received."""


def record_of(changes: list[Change], after: int, time_ms: int) -> Record:
    """Returns the record of changes that were received together: of one that deleted a range, or of others."""
    last = changes[-1]
    if last.deleted is not None:
        assert len(changes) == 1
        return Record(Kind.DELETED_RANGE, time_ms, after, last.revision, last.deleted.SerializeToString())
    return Record(Kind.ROWS, time_ms, after, last.revision, rows.pack_batch(row for one in changes for row in one.rows))


class Archived:
    """A store that is written to at random, with failovers that lose tails, and its archive.

    ``states`` has, by epoch and revision, what the line of that epoch had; ``times`` which revision was the last at a
    time.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.store = MemoryStore()
        self.store.objects[names.STORE] = card.encode(Card(STORE_ID, "default", "orders"))
        self.history: History = (EpochStart(1, 2, "east"),)
        self.state = State()
        self.revision = BASE_REVISION
        self.line: dict[int, State] = {BASE_REVISION: self.state}
        self.states: dict[int, dict[int, State]] = {}
        self.times: dict[int, int] = {}
        self.waiting: list[Change] = []
        self.recent: list[Change] = []
        """Of the epoch, in the archive."""
        self.archived = BASE_REVISION
        self.clock = 1_000
        self.previous: Link | None = None
        self.headers: list[SegmentHeader] = []
        self._write(self._header(BASE_REVISION, BASE_REVISION, BASE_REVISION, because="the archive was empty"), [])

    @property
    def epoch(self) -> int:
        return self.history[-1].epoch

    # ------------------------------------------------------------------------------------------ the store

    def step(self) -> None:
        """Does one thing at random."""
        kinds = {self.change: 20, self.cut: 4, self.second_archiver: 1, self.base: 1, self.fail_over: 1}
        self.random.choices(list(kinds), list(kinds.values()))[0]()

    def change(self) -> None:
        """Writes one revision."""
        revision = self.revision + 1
        keys, leases, auth = dict(self.state.keys), dict(self.state.leases), dict(self.state.auth)
        made: list[rows.Row] = []
        deleted: DeletedRange | None = None

        def put(key: bytes) -> None:
            before = keys.get(key)
            lease = self.random.choice([0, 0, *leases])
            value = b"%d" % revision * self.random.choice([0, 1, 40])
            created, version = (before.created, before.version + 1) if before else (revision, 1)
            keys[key] = Stored(value, created, revision, version, lease, len(made))
            made.append(rows.Row(revision, len(made), key, value, created, version, lease))

        def delete(key: bytes) -> None:
            del keys[key]
            made.append(rows.Row(revision, len(made), key, deletion=True))

        what = self.random.choice(["put", "put", "several", "delete", "range", "grant", "revoke", "auth"])
        if what == "several":
            for key in sorted(self.random.sample(KEYS, 3)):
                put(key)
        elif what == "delete" and keys:
            delete(self.random.choice(sorted(keys)))
        elif what == "range" and any(key.startswith(b"b/") for key in keys):
            gone = sorted(key for key in keys if key.startswith(b"b/"))
            for key in gone:
                del keys[key]
            deleted = DeletedRange(revision=revision, key=b"b/", range_end=b"b0", count=len(gone))
            deleted.checksum = key_hash.extend_names(0, gone)
        elif what == "grant":
            lease = self.random.choice(LEASES)
            leases[lease] = self.random.choice([10, 60])
            value = rows.LEASE_VALUE.pack(leases[lease], self.random.choice([0, 3]))
            key = _lease_key(lease)
            made.append(rows.Row(revision, 0, key, value, revision, 1, kind=rows.LEASE))
        elif what == "revoke" and leases:
            lease = self.random.choice(sorted(leases))
            del leases[lease]
            for key in sorted(key for key, stored in keys.items() if stored.lease == lease):
                delete(key)
            key = _lease_key(lease)
            made.append(rows.Row(revision, len(made), key, deletion=True, kind=rows.LEASE))
        elif what == "auth":
            name = self.random.choice([b"ualice", b"rreader"])
            user = AuthUser(name="alice", no_password=True, password_revision=revision)
            role = AuthRole(name="reader")
            if name in auth:
                del auth[name]
                made.append(rows.Row(revision, 0, name, deletion=True, kind=rows.AUTH))
            else:
                auth[name] = (user if name == b"ualice" else role).SerializeToString()
                made.append(rows.Row(revision, 0, name, auth[name], revision, 1, kind=rows.AUTH))
        else:
            put(self.random.choice(KEYS))
        self.state, self.revision = State(keys, leases, auth), revision
        self.line[revision] = self.state
        self.waiting.append(Change(revision, made, deleted))

    def fail_over(self) -> None:
        """Another region goes on, from a revision that not all rows had reached it above; or from the last one."""
        fork = self.random.randint(max(self.history[-1].first_revision - 1, self.revision - 6), self.revision)
        jump = self.random.choice([0, JUMP]) if fork == self.revision else JUMP
        if fork < self.archived:
            self._keep_line()
        self.waiting = [change for change in self.waiting if change.revision <= fork]
        self.cut()
        self._keep_line()
        self.line = {revision: state for revision, state in self.line.items() if revision <= fork}
        self.state, self.revision = self.line[fork], fork + jump
        self.line[self.revision] = self.state
        start = EpochStart(self.epoch + 1, fork + jump + 1, self.random.choice(["east", "west"]), fork if jump else 0)
        self.history = (*self.history, start)
        self.recent = []
        self.previous = self._link_at(fork)
        self._write(self._header(fork, self.revision, self.revision), [])
        self.archived = self.revision

    def finish(self) -> None:
        """Archives what waits, and keeps the line."""
        self.cut()
        self._keep_line()

    def _keep_line(self) -> None:
        """Remembers the line of the present epoch as far as it is archived; a tail that is longer stays."""
        before = self.states.get(self.epoch, {})
        line = {revision: state for revision, state in self.line.items() if revision <= self.archived}
        self.states[self.epoch] = before if len(before) > len(line) else line

    # ------------------------------------------------------------------------------------------ the archive

    def cut(self) -> None:
        """Writes what waits as a segment."""
        if not self.waiting:
            return
        records: list[Record] = []
        at = self.archived
        for together in self._received():
            self.clock += self.random.randint(0, 50)
            for change in together:
                change.time_ms = self.clock
            records.append(record_of(together, at, self.clock))
            at = together[-1].revision
            self.times[self.clock] = at
        count = sum(change.deleted.count if change.deleted else len(change.rows) for change in self.waiting)
        header = self._header(self.archived, self.waiting[0].revision, at, rows_count=count)
        self._write(_with_times(header, records), records)
        self.recent += self.waiting
        self.waiting, self.archived = [], at

    def second_archiver(self) -> None:
        """Another archiver writes rows that are in the archive already, cut elsewhere; now and then the rows after
        them follow that.
        """
        self.cut()
        if len(self.recent) < 4:
            return
        begin = self.random.randint(1, len(self.recent) - 2)
        after, some = self.recent[begin - 1].revision, self.recent[begin:][: self.random.randint(1, 6)]
        name = names.segment(self.epoch, some[0].revision)
        if name in self.store.objects:
            return
        at, records = after, []
        for change in some:
            records.append(record_of([change], at, change.time_ms))
            at = change.revision
        count = sum(change.deleted.count if change.deleted else len(change.rows) for change in some)
        previous = self.previous
        header = self._header(after, some[0].revision, at, rows_count=count)
        self._write(_with_times(header, records), records)
        if at != self.archived or self.random.random() < 0.5:
            self.previous = previous

    def _received(self) -> list[list[Change]]:
        """Returns what waits, as it was received: some revisions together."""
        received: list[list[Change]] = []
        for change in self.waiting:
            apart = change.deleted is not None or not received or received[-1][-1].deleted is not None
            if apart or self.random.random() < 0.4:
                received.append([change])
            else:
                received[-1].append(change)
        return received

    def base(self) -> None:
        """Writes a base at the present revision."""
        self.cut()
        if names.manifest(self.revision) in self.store.objects:
            return
        frames = [
            rows.Row(stored.modified, stored.sub, key, stored.value, stored.created, stored.version, stored.lease)
            for key, stored in sorted(self.state.keys.items())
        ]
        leases = {_lease_key(lease): rows.LEASE_VALUE.pack(ttl, 0) for lease, ttl in self.state.leases.items()}
        frames += [
            rows.Row(self.revision, 0, key, value, self.revision, 1, kind=rows.LEASE)
            for key, value in sorted(leases.items())
        ]
        frames += [
            rows.Row(self.revision, 0, key, value, self.revision, 1, kind=rows.AUTH)
            for key, value in sorted(self.state.auth.items())
        ]
        half = len(frames) // 2
        parts: list[PartInfo] = []
        for number, some in enumerate((frames[:half], frames[half:])):
            header = PartHeader(STORE_ID, self.history, self.revision, number, len(some))
            data = bases.encode_part(header, [rows.pack_batch(some)] if some else [])
            name = names.part(self.revision, number, "x")
            self.store.objects[name] = data
            parts.append(PartInfo(name, len(data), len(some), bases.decode_part(name, data).sha256))
        self.clock += 1
        size = sum(part.size_bytes for part in parts)
        manifest = Manifest(
            STORE_ID, "default", "orders", self.history, self.revision, self.clock, 1, len(frames), size, tuple(parts)
        )
        self.store.objects[names.manifest(self.revision)] = bases.encode_manifest(manifest)

    def _header(self, after: int, first: int, last: int, *, rows_count: int = 0, because: str = "") -> SegmentHeader:
        return SegmentHeader(
            STORE_ID, self.history, after, first, last, rows_count, self.clock, self.clock, self.previous, because
        )

    def _write(self, header: SegmentHeader, records: list[Record]) -> None:
        data = segments.encode(header, records)
        self.store.objects[header.name] = data
        self.headers.append(header)
        self.previous = segments.decode(header.name, data).link

    def _link_at(self, revision: int) -> Link:
        """Returns the newest segment that the rows after a revision of the line follow."""
        own = [header for header in self.headers if header.history == self.history[: len(header.history)]]
        name = next(header.name for header in reversed(own) if header.after_revision <= revision)
        return segments.decode(name, self.store.objects[name]).link


def _with_times(header: SegmentHeader, records: list[Record]) -> SegmentHeader:
    first, last = records[0].time_ms, records[-1].time_ms
    return msgspec.structs.replace(header, first_time_ms=first, last_time_ms=last)


def _lease_key(lease: int) -> bytes:
    return lease.to_bytes(8, "big", signed=True)


def random_history(seed: int, steps: int) -> Archived:
    archived = Archived(seed)
    for _ in range(steps):
        archived.step()
    archived.finish()
    return archived
