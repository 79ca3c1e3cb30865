"""Which live data a replica starts with."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_replica.mvcc.data.store import StorageFailed
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.live_data import LiveData


def claimed(path: Path) -> tuple[LiveData, Machine]:
    data = LiveData(path, boot_id="one boot")
    data.claim()
    return data, Machine.open(data.path, region="one", map_bytes=1 << 20)


def test_data_is_kept_after_a_killed_process_and_dropped_after_one_that_failed(tmp_path: Path) -> None:
    data, machine = claimed(tmp_path)
    machine.close()
    (data.path / "kept").touch()
    data, machine = claimed(tmp_path)
    assert (data.path / "kept").exists()
    machine.close()
    data.distrust()
    data, machine = claimed(tmp_path)
    assert not (data.path / "kept").exists()
    machine.close()


async def test_data_that_could_not_be_synced_at_the_end_is_dropped_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise StorageFailed("Input/output error")

    data, machine = claimed(tmp_path)
    (data.path / "kept").touch()
    monkeypatch.setattr(machine, "sync", fail)
    with pytest.raises(StorageFailed):
        await data.release(machine)
    machine.close()
    data, machine = claimed(tmp_path)
    assert not (data.path / "kept").exists()
    await data.release(machine)
