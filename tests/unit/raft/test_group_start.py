"""A start that has much to read on a slow disk: the process answers meanwhile whoever asks whether it is alive."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from rstore_replica.raft import Group
from rstore_replica.raft.clock import SystemClock
from rstore_replica.raft.links.transport import Transport
from rstore_replica.raft.storage.disk import LocalDisk, LocalFile
from unit.raft.cluster import FAST, Cluster, ListMachine, eventually

PATIENCE_SECONDS = 60.0


class WaitingFile(LocalFile):
    """Reads nothing before it is let."""

    def __init__(self, path: Path, disk: WaitingDisk) -> None:
        super().__init__(path)
        self._disk = disk

    def read_at(self, offset: int, size: int) -> bytes:
        self._disk.reading.set()
        assert self._disk.may_read.wait(PATIENCE_SECONDS), "the event loop stood still while the disk was waited for"
        return super().read_at(offset, size)


class WaitingDisk(LocalDisk):
    """See :class:`WaitingFile`."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.may_read = threading.Event(), threading.Event()

    def open(self, path: Path) -> WaitingFile:
        return WaitingFile(path, self)


class NoTransport(Transport):
    """A group of one says nothing to anybody."""

    refusal = ""

    async def start(self, *_: object) -> None:
        pass

    async def stop(self) -> None:
        pass

    def send(self, *_: object) -> None:
        pass


async def test_the_event_loop_goes_on_while_the_journal_is_read(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    await cluster.start()
    await eventually(lambda: cluster.leader() == "n0", "leadership")
    for number in range(20):
        await cluster.groups["n0"].propose(b"%d" % number, timeout_seconds=5)
    await cluster.stop()
    disk, machine = WaitingDisk(), ListMachine(tmp_path / "n0.machine")
    group = Group(
        name="n0",
        members=cluster.members,
        directory=tmp_path / "n0",
        machine=machine,
        transport=NoTransport(),  # type: ignore[arg-type]
        clock=SystemClock(),
        disk=disk,
        config=FAST,
    )
    starting = asyncio.create_task(group.start())
    await eventually(disk.reading.is_set, "that the journal is being read")
    assert group.status().not_ready_reason == "starting"
    disk.may_read.set()
    await starting
    await eventually(lambda: len(machine.values) == 20, "all entries")
    await group.stop()
