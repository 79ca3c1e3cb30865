"""Which live data a replica starts with."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from rstore_api.proto.rstore_pb2 import BootstrapRequest, LogEntry, Topology
from rstore_replica.mvcc.data.store import StorageFailed
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.live_data import LiveData
from rstore_replica.raft import LocalDisk

BOOTSTRAP = LogEntry(
    bootstrap=BootstrapRequest(store_id="store", topology=Topology(epoch=1, version=1, primary_region="one"))
).SerializeToString()


class FailingDisk(LocalDisk):
    """A disk on which the next sync of a tree below ``failing`` reports that something could not be written."""

    failing: Path | None = None

    def sync_tree(self, path: Path) -> None:
        if self.failing == path:
            self.failing = None
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        super().sync_tree(path)


def opened(path: Path, disk: LocalDisk | None = None) -> tuple[LiveData, Machine]:
    data = LiveData(path, disk=disk, boot_id="one boot")
    open_machine = partial(Machine.open, data.path, region="one", map_bytes=1 << 20, quarantine=data.quarantine)
    return data, data.open(open_machine)


def applied_and_killed(path: Path) -> LiveData:
    """Data in which one entry is applied, left by a process that did not release it."""
    data, machine = opened(path)
    machine.apply(1, 1, BOOTSTRAP)
    machine.close()
    return data


def applied_after_a_start(path: Path, disk: LocalDisk | None = None) -> int:
    _, machine = opened(path, disk)
    machine.close()
    return machine.applied_index


def test_data_is_kept_after_a_killed_process_and_dropped_after_one_that_failed(tmp_path: Path) -> None:
    data = applied_and_killed(tmp_path)
    assert applied_after_a_start(tmp_path) == 1
    data.distrust()
    assert applied_after_a_start(tmp_path) == 0


@pytest.mark.parametrize("directory", ["mvcc", "quarantine"])
def test_data_that_could_not_be_written_after_the_process_was_killed_is_dropped(tmp_path: Path, directory: str) -> None:
    applied_and_killed(tmp_path)
    (tmp_path / "quarantine").mkdir()
    disk = FailingDisk()
    disk.failing = tmp_path / directory
    assert applied_after_a_start(tmp_path, disk) == 0
    assert (tmp_path / "quarantine").exists()


def truncated(data: bytes) -> bytes:
    return data[:100]


def overwritten(data: bytes) -> bytes:
    return bytes(len(data))


@pytest.mark.parametrize("damage", [truncated, overwritten])
def test_data_that_cannot_be_opened_is_dropped(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    data = applied_and_killed(tmp_path)
    file = data.path / "live" / "data.mdb"
    file.write_bytes(damage(file.read_bytes()))
    assert applied_after_a_start(tmp_path) == 0


def test_data_of_a_later_version_is_refused_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr("rstore_replica.mvcc.data.store.FORMAT_VERSION", 9)
        applied_and_killed(tmp_path)
    with pytest.raises(StorageFailed, match="data format 9"):
        opened(tmp_path)
    monkeypatch.setattr("rstore_replica.mvcc.data.store.FORMAT_VERSION", 9)
    assert applied_after_a_start(tmp_path) == 1


async def test_data_that_could_not_be_synced_at_the_end_is_dropped_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise StorageFailed("Input/output error")

    applied_and_killed(tmp_path)
    data, machine = opened(tmp_path)
    monkeypatch.setattr(machine, "sync", fail)
    with pytest.raises(StorageFailed):
        await data.release(machine)
    machine.close()
    assert applied_after_a_start(tmp_path) == 0
