"""Histories of failovers, switchovers, partial streams, interrupted rejoins and crashes: all regions converge, no
revision ever means two things, and every row is in the data or in quarantine, there once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.proto.rstore_pb2 import RewindStep
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.tail_facts import Leaving
from rstore_replica.replication.history import Diverged
from unit.mvcc.replicas import Replica
from unit.mvcc.tails.regions import (
    all_rows,
    chain,
    files_in,
    finish_undoing,
    follow,
    leave,
    look,
    promote,
    quarantined_rows,
    rewind_of,
)

EXAMPLES = int(os.environ.get("RSTORE_DIVERGENCE_EXAMPLES", "40"))
NAMES = ("us", "eu", "asia")
KINDS = ("write", "write", "stale write", "stream", "interrupted", "crash", "failover", "switchover")


class History:
    """Three regions and what was ever written; ``primary`` is the region that was promoted last."""

    def __init__(self, directory: Path, data: st.DataObject) -> None:
        self.directory = directory
        self.data = data
        self.regions = {name: Replica(directory / name, name, map_bytes=1 << 22) for name in NAMES}
        self.meaning: dict[int, bytes] = {}
        self.epoch, self.primary, self.count = 1, "us", 0

    def write(self, name: str, key: bytes) -> None:
        self.count += 1
        value = b"%d" % self.count
        revision = self.regions[name].put(key, value).header.revision
        assert self.meaning.setdefault(revision, value) == value

    def rejoin(self, name: str, max_rows: int) -> None:
        leave(self.regions[self.primary], self.regions[name], max_rows=max_rows)
        follow(self.regions[self.primary], self.regions[name])

    def others(self) -> list[str]:
        return [name for name in NAMES if name != self.primary]

    def promote(self, name: str, jump: int = 10**9) -> None:
        finish_undoing(self.regions[name])
        self.epoch += 1
        self.primary = name
        promote(self.regions[name], self.epoch, jump)

    def step(self) -> None:
        draw = self.data.draw
        kind = draw(st.sampled_from(KINDS))
        if kind == "write":
            self.write(self.primary, draw(st.sampled_from([b"a", b"b"])))
        elif kind == "stale write":
            # A primary that is not fenced does not know that it was replaced.
            able = [name for name in NAMES if self.regions[name].machine.state.writable]
            self.write(draw(st.sampled_from(able)), draw(st.sampled_from([b"a", b"b"])))
        elif kind == "stream":
            self.rejoin(draw(st.sampled_from(self.others())), draw(st.integers(0, 3)))
        elif kind == "interrupted":
            self.begin_to_leave(draw(st.sampled_from(self.others())), draw(st.integers(0, 4)))
        elif kind == "crash":
            self.regions[draw(st.sampled_from(NAMES))].reopen()
        elif kind == "failover":
            self.promote(draw(st.sampled_from(NAMES)))
        else:
            target = draw(st.sampled_from(self.others()))
            self.regions[self.primary].promise(self.epoch + 1)
            self.rejoin(target, draw(st.integers(0, 3)))
            self.promote(target, jump=0)

    def begin_to_leave(self, name: str, steps: int) -> None:
        source, target = self.regions[self.primary], self.regions[name]
        finish_undoing(target, 1)
        diverged = look(source, target)
        if not isinstance(diverged, Diverged):
            return
        answer = target.apply(rewind=rewind_of(source, target, diverged, max_rows=1))
        for _ in range(steps):
            if isinstance(answer, Leaving):
                answer = target.apply(rewind_step=RewindStep(max_rows=1))

    def check(self) -> None:
        self.write(self.primary, b"last")
        for name in self.others():
            self.rejoin(name, 2)
        regions = self.regions.values()
        assert len({replica.hash().hash for replica in regions}) == 1
        assert len({chain(replica) for replica in regions}) == 1
        data = all_rows(self.regions[self.primary].machine)
        everything = dict(data)
        for replica in regions:
            assert all_rows(replica.machine) == data
            assert sorted(files_in(replica)) == sorted(tail.file for tail in replica.machine.quarantined)
            everything |= quarantined_rows(replica)
        assert {row.revision: row.value for row in everything.values()} == self.meaning

    def check_second_replicas(self) -> None:
        """Another replica of each region, fed the same log, has the same data and the same files."""
        for name, replica in self.regions.items():
            path = self.directory / "second" / name
            second = Machine.open(path, region=name, map_bytes=1 << 22)
            for index, entry in enumerate(replica.log, start=1):
                second.apply(index, 1, entry)
            assert second.state == replica.machine.state
            assert all_rows(second) == all_rows(replica.machine)
            twins = path.with_name(f"{name}.quarantine").glob("*")
            assert {twin.name: twin.read_bytes() for twin in twins} == files_in(replica)
            second.close()

    def close(self) -> None:
        for replica in self.regions.values():
            replica.machine.close()


@contextmanager
def history_in(directory: Path, data: st.DataObject) -> Iterator[History]:
    made = History(directory, data)
    try:
        yield made
    finally:
        made.close()


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_failovers_back_and_forth_lose_nothing_silently(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with history_in(tmp_path_factory.mktemp("regions"), data) as history:
        for _ in range(data.draw(st.integers(1, 16))):
            history.step()
        history.check()
        history.check_second_replicas()
