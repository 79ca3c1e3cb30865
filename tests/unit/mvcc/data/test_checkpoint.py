"""Checkpoints: a copy is whole, damage is found, and a crash at any step of a restore leaves one state or the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rstore_replica.mvcc.data import checkpoint
from rstore_replica.mvcc.data.store import StorageFailed
from rstore_replica.mvcc.machine import Machine
from unit.mvcc.replicas import Replica


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    for number in range(20):
        replica.put(b"k%d" % number, b"v%d" % number)
    yield replica
    replica.machine.close()


def test_a_restored_replica_is_what_the_copied_one_was(replica: Replica, tmp_path: Path) -> None:
    replica.machine.checkpoint(tmp_path / "copy")
    state, revision, index = replica.machine.state, replica.machine.revision, replica.machine.applied_index
    copied = replica.hash()
    replica.put(b"later")
    other = Replica(tmp_path / "other", bootstrap=None)
    received: list[int] = []
    other.machine.subscribe(received.append)
    other.machine.restore(tmp_path / "copy")
    assert (other.machine.state, other.machine.revision, other.machine.applied_index) == (state, revision, index)
    assert received == [revision]
    assert other.hash() == copied
    assert other.put(b"goes on").header.revision == revision + 1
    other.reopen()
    assert other.get(b"goes on") == b""
    assert other.get(b"later") is None
    other.machine.close()


def test_a_copy_made_during_writes_is_one_state(replica: Replica, tmp_path: Path) -> None:
    copying = threading.Thread(target=replica.machine.checkpoint, args=(tmp_path / "copy",))
    copying.start()
    number = 0
    while copying.is_alive():
        number += 1
        replica.put(b"during-%d" % number)
    copying.join()
    manifest = checkpoint.check_checkpoint(tmp_path / "copy")
    other = Replica(tmp_path / "other", bootstrap=None)
    other.machine.restore(tmp_path / "copy")
    assert other.machine.applied_index == manifest.position.applied_index
    assert other.range(count_only=True).count == other.machine.revision - 1
    other.machine.close()


def test_it_goes_to_an_empty_directory_only(replica: Replica, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(StorageFailed, match="not empty"):
        replica.machine.checkpoint(tmp_path / "used")


@pytest.mark.parametrize("damage", ["flip", "cut", "no data", "no manifest", "bad manifest"])
def test_a_damaged_checkpoint_is_refused_and_the_live_state_kept(replica: Replica, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy"
    replica.machine.checkpoint(copy)
    data = bytearray((copy / "data.mdb").read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        (copy / "data.mdb").write_bytes(data)
    elif damage == "cut":
        (copy / "data.mdb").write_bytes(data[:-4096])
    elif damage == "no data":
        (copy / "data.mdb").unlink()
    elif damage == "no manifest":
        (copy / "manifest.json").unlink()
    else:
        (copy / "manifest.json").write_text("{}")
    replica.put(b"live")
    with pytest.raises(StorageFailed):
        replica.machine.restore(copy)
    assert replica.get(b"live") == b""
    assert replica.put(b"goes on").header.revision == 23


@pytest.mark.parametrize("crash", ["copying", "staged", "live away", "swapped", "cleared"])
def test_a_crash_during_a_restore_leaves_the_old_state_or_the_new(replica: Replica, tmp_path: Path, crash: str) -> None:
    replica.machine.checkpoint(tmp_path / "copy")
    replica.put(b"newer than the copy")
    replica.machine.close()
    path = tmp_path / "us"
    checkpoint.stage(path, tmp_path / "copy")
    if crash == "copying":
        (path / "incoming").rename(path / "incoming.tmp")
        (path / "incoming.tmp" / "data.mdb").write_bytes(b"half of it")
    if crash in ("live away", "swapped", "cleared"):
        (path / "live").rename(path / "outgoing")
    if crash in ("swapped", "cleared"):
        (path / "incoming").rename(path / "live")
    if crash == "cleared":
        (path / "outgoing" / "data.mdb").unlink()
    replica.machine = Machine.open(path, region="us")
    expected = b"" if crash == "copying" else None
    assert replica.get(b"newer than the copy") == expected
    assert replica.get(b"k7") == b"v7"
    assert sorted(entry.name for entry in path.iterdir()) == ["live"]


def test_data_of_a_later_format_is_refused(replica: Replica, tmp_path: Path) -> None:
    store = replica.machine._store
    with store.write() as transaction:
        position = transaction.get(b"position", db=store.meta)
        transaction.put(b"position", b"\x09" + position[1:], db=store.meta)
    replica.machine.close()
    with pytest.raises(StorageFailed, match="data format 9"):
        Machine.open(tmp_path / "us", region="us")
    replica.machine.close()


async def test_a_restore_in_a_thread_is_reported_on_the_loop(replica: Replica, tmp_path: Path) -> None:
    replica.machine.checkpoint(tmp_path / "copy")
    other = Replica(tmp_path / "other", bootstrap=None)
    received: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    other.machine.subscribe(lambda revision: received.set_result((revision, threading.get_ident())))
    await asyncio.to_thread(other.machine.restore, tmp_path / "copy")
    assert await asyncio.wait_for(received, 10) == (21, threading.get_ident())
    other.machine.close()


def test_the_checksum_is_of_what_was_meant_and_not_of_what_the_disk_made_of_it(
    replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    def open_lossy(path: Path, mode: str = "r") -> object:
        """The page cache of a new file has lost a write by the time anybody reads it."""
        file = real_open(path, mode)
        if mode != "xb" or path.name != "data.mdb":
            return file

        class Lossy:
            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def __enter__(self) -> Lossy:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def write(self, block: bytes) -> int:
                return file.write(bytes(len(block)))

        return Lossy()

    monkeypatch.setattr(Path, "open", open_lossy)
    replica.machine.checkpoint(tmp_path / "copy")
    with pytest.raises(StorageFailed, match="is damaged"):
        checkpoint.check_checkpoint(tmp_path / "copy")
