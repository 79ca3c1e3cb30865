"""A full disk: entries are refused whole, vital records still fit, and all goes on by itself when there is room."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from rstore_api.errors import NoSpace
from rstore_replica.raft import Group, GrpcTransport, Member, RaftConfig
from rstore_replica.raft.clock import SystemClock
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.storage.room import RESERVE_BYTES, DiskFull, Room
from unit.raft.storage.full_disk import FullDisk

ENTRY = b"\0" + b"x" * 1000


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class Clock(SystemClock):
    """Goes on when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Machine:
    """Keeps what is applied; finds no room while ``full``."""

    def __init__(self) -> None:
        self.applied_index = 0
        self.applied: list[bytes] = []
        self.full = False

    def apply(self, index: int, _term: int, entry: bytes) -> object:
        if self.full:
            raise OSError(errno.ENOSPC, "no room")
        if index > self.applied_index:
            self.applied_index = index
            self.applied.append(entry)
        return len(self.applied)

    def checkpoint(self, directory: Path) -> None:
        raise OSError(errno.ENOSPC, "no room")

    def sync(self) -> None:
        """Nothing: it is not kept."""

    def restore(self, directory: Path) -> None:
        raise AssertionError("nothing to restore from")


def open_journal(directory: Path, disk: FullDisk, clock: Clock, segment_bytes: int = 1 << 20) -> tuple[Journal, Room]:
    room = Room(directory / "reserve", disk, clock)
    journal = Journal(
        directory / "journal", disk, open_file=room.open, segment_bytes=segment_bytes, cache_bytes=1 << 20
    )
    assert room.look()
    return journal, room


def contents(journal: Journal) -> list[bytes]:
    return [journal.entry(index).command for index in range(journal.first_index + 1, journal.last_index + 1)]


@pytest.mark.parametrize("room_bytes", [0, 1, 19, 500, 1030])
def test_an_entry_that_does_not_fit_leaves_nothing_behind(tmp_path: Path, room_bytes: int) -> None:
    disk, clock = FullDisk(), Clock()
    journal, room = open_journal(tmp_path, disk, clock)
    journal.append(2, 1, ENTRY)
    disk.fill(room_bytes)
    for _ in range(2):
        with pytest.raises(DiskFull):
            journal.append(3, 1, ENTRY)
    assert room.reason
    assert journal.last_index == 2
    disk.empty()
    clock.now += 1
    journal.append(3, 1, b"\0later")
    assert not room.reason
    journal.close()
    again, _ = open_journal(tmp_path, disk, clock)
    assert contents(again) == [ENTRY, b"\0later"]
    again.close()


def test_term_and_vote_and_the_group_s_own_entries_are_written_from_the_reserve(tmp_path: Path) -> None:
    disk, clock = FullDisk(), Clock()
    journal, room = open_journal(tmp_path, disk, clock)
    disk.fill()
    removed = disk.remove

    def remove(path: Path) -> None:
        if path.name == "reserve" and path.exists():
            disk.fill(RESERVE_BYTES)
        removed(path)

    disk.remove = remove  # type: ignore[method-assign]
    for term in range(1, 100):
        journal.set_state(term, "me")
    journal.append(2, 99, b"\1")
    with pytest.raises(DiskFull):
        journal.append(3, 99, ENTRY)
    disk.remove = removed  # type: ignore[method-assign]
    disk.empty()
    clock.now += 1
    assert room.look()
    journal.append(3, 99, ENTRY)
    journal.close()
    again, _ = open_journal(tmp_path, disk, clock)
    assert (again.current_term, again.voted_for, contents(again)) == (99, "me", [b"\1", ENTRY])
    again.close()


def test_a_new_segment_can_be_begun_while_entries_are_refused(tmp_path: Path) -> None:
    disk, clock = FullDisk(), Clock()
    journal, _ = open_journal(tmp_path, disk, clock, segment_bytes=5000)
    for index in range(2, 6):
        journal.append(index, 1, ENTRY)
    disk.fill(600)  # the beginning of a segment fits, the entry does not
    with pytest.raises(DiskFull):
        journal.append(6, 1, ENTRY)
    journal.close()
    disk.empty()
    again, _ = open_journal(tmp_path, disk, clock, segment_bytes=5000)
    assert contents(again) == [ENTRY] * 4
    again.append(6, 1, ENTRY)
    again.close()


# ---------------------------------------------------------------------------------------------- a group of one


class One:
    def __init__(self, directory: Path) -> None:
        self.disk, self.machine, self.fatal = FullDisk(), Machine(), []
        me = Member("n0", "127.0.0.1:1")
        self.group = Group(
            name="n0",
            members=(me,),
            directory=directory,
            machine=self.machine,
            transport=GrpcTransport("n0", (me,)),
            disk=self.disk,
            config=RaftConfig(checkpoint_entries=5),
            on_fatal=self.fatal.append,
        )


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[One]:
    made = One(tmp_path)
    await made.group.start()
    await until(lambda: made.group.status().leader == "n0")
    yield made
    await made.group.stop()
    assert made.fatal == []


async def test_proposals_are_refused_and_none_is_in_the_log(one: One) -> None:
    assert await one.group.propose(b"before", timeout_seconds=5) == 1
    one.disk.fill(10)
    for _ in range(3):
        with pytest.raises(NoSpace):
            await one.group.propose(b"x" * 5000, timeout_seconds=5)
    assert "full" in one.group.status().not_ready_reason
    one.disk.empty()
    await until(lambda: one.group.status().not_ready_reason == "")
    assert await one.group.propose(b"after", timeout_seconds=5) == 2
    assert one.machine.applied == [b"before", b"after"]


async def test_what_is_committed_waits_to_be_applied_and_nothing_new_is_taken(one: One) -> None:
    one.machine.full = True
    waiting = asyncio.create_task(one.group.propose(b"first", timeout_seconds=10))
    await until(lambda: "full" in one.group.status().not_ready_reason)
    with pytest.raises(NoSpace):
        await one.group.propose(b"second", timeout_seconds=5)
    one.machine.full = False
    assert await waiting == 1
    await until(lambda: one.group.status().not_ready_reason == "")
    assert await one.group.propose(b"third", timeout_seconds=5) == 2
    assert one.machine.applied == [b"first", b"third"]


async def test_a_checkpoint_for_which_there_is_no_room_is_no_failure(one: One) -> None:
    for number in range(12):
        assert await one.group.propose(b"%d" % number, timeout_seconds=5) == number + 1
