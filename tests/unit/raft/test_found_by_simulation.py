"""What the simulator found, pinned down: each in as few steps as it takes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest
from hazards.hazard_ours import OurGroup
from rstore_api.proto import raft_pb2 as pb
from rstore_replica.raft import RaftConfig, SystemClock
from rstore_replica.raft.checkpoints.store import CheckpointStore, Manifest, write_manifest
from rstore_replica.raft.storage.disk import LocalDisk
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import RaftError
from unit.raft.cluster import ListMachine
from unit.raft.storage.crash_disk import CrashDisk


def _fail(error: BaseException) -> None:
    raise error


def journal(path: Path, disk: CrashDisk) -> Journal:
    return Journal(path, disk, segment_bytes=1 << 20, cache_bytes=1000)


def test_what_a_killed_process_had_not_synced_is_synced_before_it_counts(tmp_path: Path) -> None:
    disk = CrashDisk()
    first = journal(tmp_path / "j", disk)
    start = first.last_index
    first.append(start + 1, 1, b"\0written, never synced")
    first.close()
    again = journal(tmp_path / "j", disk)
    assert again.durable_index == start + 1
    disk.crash(random.Random(1))
    again.close()
    assert journal(tmp_path / "j", CrashDisk()).last_index == start + 1, "what counted as durable is gone"


async def test_data_of_a_checkpoint_may_be_ahead_of_the_log_it_was_installed_with(tmp_path: Path) -> None:
    """Applying went on while the leader copied its data; the entries between come again, and do nothing."""

    def installed(applied: int, at_most: int) -> tuple[CheckpointStore, Journal]:
        folder = tmp_path / f"{applied}-{at_most}"
        machine, disk = ListMachine(), LocalDisk()
        for index in range(1, applied + 1):
            machine.apply(index, 1, b"x")
        store = CheckpointStore(folder, disk, machine, SystemClock(), RaftConfig(), failed=_fail)
        making = folder / "making"
        (making / "data").mkdir(parents=True)
        write_manifest(making, Manifest(5, 1, 5, (), applied_at_most=at_most))
        store.publish(making, 5, 1)
        log = Journal(folder / "journal", disk, segment_bytes=1 << 20, cache_bytes=1000)
        log.reset(5, 1, 5)
        return store, log

    ahead, log = installed(applied=7, at_most=7)
    assert await ahead.recover(log) == 5, "what the log does not hold yet is applied when it comes"
    lost, log = installed(applied=8, at_most=7)
    with pytest.raises(RaftError, match="the journal was lost"):
        await lost.recover(log)


def test_a_checkpoint_whose_removal_was_interrupted_does_not_keep_the_replica_from_starting(tmp_path: Path) -> None:
    class DiesWhileRemoving(LocalDisk):
        def remove(self, path: Path) -> None:
            if path.is_dir() and (path / "manifest.json").exists():
                (path / "manifest.json").unlink()
                raise OSError("killed here")
            super().remove(path)

    def store(disk: LocalDisk) -> CheckpointStore:
        return CheckpointStore(tmp_path, disk, ListMachine(), SystemClock(), RaftConfig(), failed=_fail)

    dying = DiesWhileRemoving()
    paths = []
    for index in (10, 20):
        making = tmp_path / "making"
        (making / "data").mkdir(parents=True)
        write_manifest(making, Manifest(index, 1, index, ()))
        paths.append(store(dying).publish(making, index, 1))
    with contextlib.suppress(OSError):
        store(dying).remove_older(paths[1])
    healthy = LocalDisk()
    log = Journal(tmp_path / "journal", healthy, segment_bytes=1 << 20, cache_bytes=1000)
    asyncio.run(store(healthy).recover(log))
    newest = store(healthy).newest()
    assert newest is not None
    assert newest[0].index == 20
    assert [path.name for path in sorted(tmp_path.iterdir())] == [paths[1].name, "journal"]


def test_a_refusal_of_an_older_question_does_not_lead_the_leader_forward_again(tmp_path: Path) -> None:
    """With one entry a message, leader and follower contradicted each other for ever: neither question was the other's
    answer."""
    group = OurGroup("abc", tmp_path, RaftConfig(append_batch_entries=1))
    group.elect("a")
    group.settle()
    for number in range(10):
        group.put("a", b"%d" % number)
    group.settle(lambda sender, to, _: "b" not in (sender, to))
    group.drop()
    leader = group.replicas["a"].core
    held = group.last_index("b")

    def refuses(next_index: int) -> None:
        refusal = pb.RaftAppendReply(next_index=next_index, reset=True)
        leader.receive("b", pb.RaftEnvelope(term=leader.term, append_reply=refusal))

    refuses(held + 3)
    refuses(held + 1)
    refuses(held + 3)
    assert leader._engine.next_index("b") == held + 1
    group.settle()
    assert group.last_index("b") == group.last_index("a")
