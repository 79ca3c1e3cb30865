"""Hazard 12: snapshots fork inside the process or block the tick, and count before they are on disk."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hazards.hazard_groups import QUICK, Listing, make_group, until
from hazards.hazard_stock import StockGroup
from rstore_replica.raft import LocalDisk


class Forked(BaseException):
    """Raised in place of a fork."""


def compacting(root: Path, **conf: object) -> StockGroup:
    group = StockGroup("a", root, fullDumpFile=str(root / "dump"), **conf)
    group.elect("a")
    for number in range(20):
        group.put("a", number)
    group.settle()
    group.replicas["a"].forceLogCompaction()
    return group


def test_hazard_12_stock_forks_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise Forked

    monkeypatch.setattr(os, "fork", fork)
    group = compacting(tmp_path)
    with pytest.raises(Forked):
        group.tick("a")


def test_hazard_12_stock_without_fork_blocks_the_tick_and_syncs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _descriptor, name=name: events.append(name))

    def serializer(file: str, _data: object) -> None:
        events.append(threading.current_thread().name)
        Path(file).write_bytes(b"all there is")

    group = compacting(tmp_path, useFork=False, serializer=serializer, deserializer=lambda _file: ())
    before = len(group.log("a"))
    group.tick("a")
    group.tick("a")
    assert len(group.log("a")) < before  # the log that the dump stands for is gone
    assert events == [threading.main_thread().name]  # written by the tick itself, synced by nobody


class Recorder(LocalDisk):
    """Records in which order files become durable or are removed."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def sync_tree(self, path: Path) -> None:
        self.events.append(f"synced {path.name}")
        super().sync_tree(path)

    def rename(self, source: Path, target: Path) -> None:
        self.events.append(f"renamed {source.name}")
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self.events.append(f"synced {path.name}")
        super().sync_directory(path)

    def remove(self, path: Path) -> None:
        if path.suffix == ".seg":
            self.events.append("removed a segment")
        super().remove(path)


async def test_hazard_12_ours_goes_on_while_a_checkpoint_is_made_and_lets_the_log_go_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise Forked

    monkeypatch.setattr(os, "fork", fork)
    machine, disk = Listing(), Recorder()
    config = replace(QUICK, checkpoint_entries=100, trailing_entries=5, segment_bytes=8192)
    group = make_group(tmp_path, machine, disk=disk, config=config)
    begun, go_on = threading.Event(), threading.Event()

    def before_checkpoint() -> None:
        assert threading.current_thread() is not threading.main_thread()
        begun.set()
        go_on.wait(20)

    machine.before_checkpoint = before_checkpoint
    await group.start()
    try:
        for _ in range(110):
            await group.propose(b"x" * 500, timeout_seconds=5)
        await until(begun.is_set, "a checkpoint is being made")
        for _ in range(20):
            await group.propose(b"meanwhile", timeout_seconds=5)
        assert "removed a segment" not in disk.events
        disk.events.clear()
        go_on.set()
        await until(lambda: "removed a segment" in disk.events, "the log is let go")
    finally:
        go_on.set()
        await group.stop()
    assert disk.events.index("synced making") < disk.events.index("renamed making")
    made = disk.events.index("renamed making")
    assert made < disk.events.index("synced checkpoints", made) < disk.events.index("removed a segment")
