"""What is held until it is durable is released then, once, in order, and never before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rstore_replica.raft import LocalDisk
from rstore_replica.raft.storage.durability import Syncer
from rstore_replica.raft.storage.journal import Journal
from unit.raft.cluster import eventually

T = TypeVar("T")


class SlowDisk(LocalDisk):
    """Does the work it is given only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.runs = 0

    async def run(self, work: Callable[[], T]) -> T:
        self.runs += 1
        return await asyncio.to_thread(lambda: (self.let.wait(10), work())[1])


def parts(path: Path) -> tuple[Journal, SlowDisk, Syncer, list[BaseException]]:
    disk = SlowDisk()
    journal = Journal(path, disk, segment_bytes=1 << 20, cache_bytes=1 << 20)
    failures: list[BaseException] = []
    return journal, disk, Syncer(journal, disk, synced=lambda: None, failed=failures.append), failures


async def test_what_is_written_during_a_sync_waits_for_the_next_and_shares_it(tmp_path: Path) -> None:
    journal, disk, syncer, failures = parts(tmp_path)
    released: list[str] = []
    journal.append(2, 1, b"\0")
    syncer.hold(lambda: released.append("first"))
    syncer.kick()
    await eventually(lambda: disk.runs == 1, "a sync begins")
    for index in range(3, 50):
        journal.append(index, 1, b"\0")
        syncer.hold(lambda index=index: released.append(str(index)))
        syncer.kick()
    assert released == []
    disk.let.set()
    await eventually(lambda: not journal.dirty, "all is durable")
    assert released == ["first", *(str(index) for index in range(3, 50))]
    assert disk.runs == 2
    assert failures == []


async def test_with_nothing_to_wait_for_it_leaves_at_once(tmp_path: Path) -> None:
    _, _, syncer, _ = parts(tmp_path)
    released: list[str] = []
    syncer.hold(lambda: released.append("now"))
    assert released == ["now"]


async def test_a_compaction_that_syncs_by_itself_leaves_nothing_held(tmp_path: Path) -> None:
    journal, _, syncer, _ = parts(tmp_path)
    released: list[str] = []
    for index in range(2, 10):
        journal.append(index, 1, b"\0")
    syncer.hold(lambda: released.append("held"))
    journal.compact(5, 5)
    syncer.kick()
    assert released == ["held"]


async def test_after_a_failed_sync_nothing_is_ever_released(tmp_path: Path) -> None:
    journal, disk, syncer, failures = parts(tmp_path)
    released: list[str] = []
    journal.append(2, 1, b"\0")
    syncer.hold(lambda: released.append("lie"))
    journal.close()
    disk.let.set()
    syncer.kick()
    await eventually(lambda: failures, "the failure is reported")
    await syncer.stop()
    assert released == []
