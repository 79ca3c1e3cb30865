"""What a checkpoint that cannot be trusted does."""

from __future__ import annotations

from pathlib import Path

from hazards.hazard_ours import OurGroup
from rstore_replica.raft import RaftConfig
from rstore_replica.raft.checkpoints.store import CheckpointStore
from rstore_replica.raft.storage.disk import LocalDisk
from unit.raft.cluster import ListMachine

CONFIG = RaftConfig(checkpoint_entries=20, trailing_entries=5)


class LostMachine(ListMachine):
    """A write of its live state to the disk has failed."""

    def sync(self) -> None:
        raise OSError(5, "Input/output error")


async def test_no_checkpoint_is_made_of_a_live_state_that_cannot_be_synced(tmp_path: Path) -> None:
    group, failures = OurGroup("a", tmp_path, CONFIG), list[BaseException]()
    group.elect("a")
    for number in range(30):
        group.put("a", b"%d" % number)
    group.settle()
    replica, disk = group.replicas["a"], LocalDisk()
    for machine, made in ((LostMachine(), 0), (ListMachine(), 1)):
        store = CheckpointStore(tmp_path / "checkpoints", disk, machine, group.clock, CONFIG, failed=failures.append)
        disk.make_directory(store.directory)
        store.consider(replica.core, replica.journal, wanted=False)
        await store.stop()
        assert len(store.all()) == made
        assert (replica.journal.first_index > 1) == bool(made), "the log is kept as long as nothing stands for it"
    assert [str(failure) for failure in failures] == [
        "the live state cannot be synced, so a copy of it cannot be trusted: [Errno 5] Input/output error"
    ]
