"""Writes, compactions, failovers, broken transfers in any order: what a region shows is always one chain's content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rstore_api.domain.epochs import settled
from rstore_api.errors import Compacted, StoreError
from rstore_replica.replication.history import Diverged
from rstore_replica.replication.sending.snapshot_source import SnapshotId
from unit.mvcc.replicas import STORE, Replica
from unit.mvcc.tails.regions import (
    chain,
    finish_undoing,
    leave,
    look,
    promote,
    quarantined_rows,
    same_chain,
    take_batch,
)
from unit.mvcc.transfer.transfers import chunks, keep_tail, step_of

NAMES = ("us", "eu", "ap")
KEYS = (b"a", b"b", b"c", b"d", b"e")

Content = dict[bytes, tuple[bytes, int]]


class World:
    """Three regions that never hear more of each other than a transfer brings, and what each revision means."""

    def __init__(self, directory: Path) -> None:
        self.regions = {name: Replica(directory / name, name) for name in NAMES}
        self.meaning: dict[int, tuple[bytes, bytes | None]] = {}
        self.epoch, self.primary = 1, "us"
        self.snapshots = self.continued = 0

    def close(self) -> None:
        for region in self.regions.values():
            region.machine.close()

    def write(self, name: str, key: bytes, value: bytes | None) -> None:
        """In a region that believes it is primary; perhaps it no longer is."""
        region = self.regions[name]
        before = region.machine.revision
        if value is None:
            region.delete(key)
        else:
            region.put(key, value)
        if region.machine.revision > before:
            assert region.machine.revision not in self.meaning, "a revision means two things"
            self.meaning[region.machine.revision] = (key, value)

    def compact(self, name: str, behind: int, rows: int) -> None:
        """Not in a region that leaves a tail, which refuses."""
        region = self.regions[name]
        if region.machine.state.writable:
            region.compact(max(1, region.machine.revision - behind))
        region.machine.compact_step(rows + 1)
        region.machine.clear_step(rows + 1)

    def fail_over(self, name: str) -> None:
        if name == self.primary:
            return
        finish_undoing(self.regions[name])
        self.epoch, self.primary = self.epoch + 1, name
        promote(self.regions[name], self.epoch)

    def content_of_chain(self, name: str) -> Content:
        """What the region must show, by the meaning of the revisions in its chain."""
        held = chain(self.regions[name])
        found: Content = {}
        for position, start in enumerate(held.history):
            for revision in range(start.first_revision, held.end_of(position) + 1):
                key, value = self.meaning[revision]
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = (value, revision)
        return found

    def check(self, name: str) -> None:
        shown = {pair.key: (pair.value, pair.mod_revision) for pair in self.regions[name].range().kvs}
        assert shown == self.content_of_chain(name), name

    def transfer(self, name: str, budget: int) -> bool:
        """What the leaders of the primary and of this region do, broken off after ``budget`` messages; whether all
        was brought."""
        source, target = self.regions[self.primary], self.regions[name]
        if source is target:
            return True
        finish_undoing(target)
        diverged = look(source, target)
        if isinstance(diverged, Diverged):
            compacted = settled(chain(target).history, target.machine.compact_revision)
            if diverged.fork_revision < compacted:
                keep_tail(source, target)
                budget = self._snapshot(source, target, name, budget)
            else:
                leave(source, target, max_rows=2)
        if budget and not self._readable(source, target.machine.revision):
            budget = self._snapshot(source, target, name, budget)
        with self._held(source, target.machine.revision):
            return budget > 0 and self._rows(source, target, budget)

    def _readable(self, source: Replica, revision: int) -> bool:
        try:
            source.machine.hold(revision).release()
        except Compacted:
            return False
        return True

    @contextmanager
    def _held(self, source: Replica, revision: int) -> Iterator[None]:
        if not self._readable(source, revision):
            yield
            return
        hold = source.machine.hold(revision)
        yield
        hold.release()

    def _snapshot(self, source: Replica, target: Replica, name: str, budget: int) -> int:
        """What is left of the budget; 0 when the snapshot is not installed yet."""
        ours, staged = chain(source), target.machine.staged
        snapshot = SnapshotId.of_staged(ours, STORE, staged.message()) if staged is not None else None
        after_key = b""
        if snapshot is not None and staged is not None and self._readable(source, snapshot.revision):
            after_key = staged.last_key
            self.continued += 1
        else:
            snapshot = SnapshotId.newest(ours)
        with self._held(source, snapshot.revision):
            for chunk in chunks(source, snapshot.revision, after_key=after_key, max_rows=1):
                if not budget:
                    return 0
                budget -= 1
                answer = target.apply(snapshot=step_of(source, target, chunk))
                assert not isinstance(answer, StoreError), answer
                self.check(name)
        self.snapshots += 1
        return budget

    def _rows(self, source: Replica, target: Replica, budget: int) -> bool:
        while not same_chain(source, target):
            if not budget:
                return False
            budget -= 1
            take_batch(source, target, max_rows=2)
        return True


names = st.sampled_from(NAMES)
events = st.one_of(
    st.tuples(st.just("write"), names, st.sampled_from(KEYS), st.sampled_from([b"1", b"2", None])),
    st.tuples(st.just("write"), names, st.sampled_from(KEYS), st.sampled_from([b"3", b"4", b"5"])),
    st.tuples(st.just("transfer"), names, st.integers(1, 6)),
    st.tuples(st.just("compact"), names, st.integers(0, 3), st.integers(0, 8)),
    st.tuples(st.just("fail_over"), names),
    st.tuples(st.just("reopen"), names),
)


@settings(max_examples=int(os.environ.get("RSTORE_SNAPSHOT_HISTORIES", "60")))
@given(history=st.lists(events, max_size=45))
@example(
    history=[
        # A primary that never wrote anything, followed by two that begin where it did: their fork lies in its jump.
        ("write", "us", b"a", b"1"),
        ("fail_over", "ap"),
        ("transfer", "us", 9),
        ("transfer", "eu", 9),
        ("fail_over", "us"),
        ("write", "us", b"a", b"2"),
        ("compact", "us", 0, 9),
        ("fail_over", "eu"),
    ]
)
def test_every_region_comes_to_hold_what_the_last_primary_holds(
    tmp_path_factory: pytest.TempPathFactory, history: list
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    try:
        for event in history:
            kind, name = event[0], event[1]
            if kind == "write" and world.regions[name].machine.state.writable:
                world.write(*event[1:])
            elif kind == "reopen":
                world.regions[name].reopen()
            elif kind in ("transfer", "compact", "fail_over"):
                getattr(world, kind)(*event[1:])
            world.check(name)
        primary = world.regions[world.primary]
        for name in NAMES:
            for _ in range(50):
                if world.transfer(name, 20):
                    break
            world.check(name)
            assert chain(world.regions[name]) == chain(primary)
            assert world.regions[name].hash().hash == primary.hash().hash
            assert world.regions[name].machine.staged is None or name == world.primary
            for row in quarantined_rows(world.regions[name]).values():
                key, value = world.meaning[row.revision]
                assert (row.key, row.deletion) == (key, value is None)
    finally:
        world.close()


def test_such_histories_have_what_they_are_to_have(tmp_path: Path) -> None:
    """A tail above a compacted fork, a transfer that breaks, a new epoch that goes on with it: once for certain."""
    world = World(tmp_path)
    try:
        for key in KEYS:
            world.write("us", key, b"1")
        world.transfer("eu", 100)
        world.compact("us", 0, 100)
        assert not world.transfer("ap", 3)
        world.fail_over("eu")
        world.compact("eu", 0, 100)
        assert world.transfer("ap", 100)
        assert (world.snapshots, world.continued) == (1, 1)
        world.write("us", b"a", b"2")
        world.compact("us", 0, 100)
        world.write("eu", b"b", b"3")
        assert world.transfer("us", 100)
        assert world.snapshots == 2
        assert [row.value for row in quarantined_rows(world.regions["us"]).values()] == [b"2"]
        for name in NAMES:
            world.check(name)
    finally:
        world.close()
