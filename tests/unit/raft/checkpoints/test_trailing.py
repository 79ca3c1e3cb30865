"""What a compaction leaves of the log: enough for who is being sent it, and not without bounds."""

from __future__ import annotations

from pathlib import Path

from hazards.hazard_ours import OurGroup
from rstore_replica.raft import RaftConfig
from rstore_replica.raft.checkpoints.store import CheckpointStore
from rstore_replica.raft.checkpoints.trailing import PATIENCE_FACTOR
from rstore_replica.raft.storage.disk import LocalDisk
from unit.raft.cluster import ListMachine

CONFIG = RaftConfig(checkpoint_entries=20, trailing_entries=5, segment_bytes=1000)


def _fail(error: BaseException) -> None:
    raise error


class Led(OurGroup):
    """``a`` leads; ``b`` has got something, then nothing more."""

    def __init__(self, root: Path, behind: int) -> None:
        super().__init__("abc", root, CONFIG)
        self.elect("a")
        self.write(30, but="")
        self.at = self.last_index("b")
        self.write(behind, but="b")
        self.drop()

    def write(self, count: int, *, but: str) -> None:
        for number in range(count):
            self.put("a", b"%d" % number)
        self.settle(lambda sender, to, _: but not in (sender, to) or not but)

    async def compact(self, root: Path) -> int:
        """Makes a checkpoint of all that is applied; returns where the log begins then."""
        replica, machine = self.replicas["a"], ListMachine()
        machine.entries = list(replica.applied)
        store = CheckpointStore(root / "checkpoints", LocalDisk(), machine, self.clock, CONFIG, failed=_fail)
        LocalDisk().make_directory(store.directory)
        store.consider(replica.core, replica.journal, wanted=False)
        await store.stop()
        return replica.journal.first_index


async def test_what_a_connected_replica_still_needs_is_kept(tmp_path: Path) -> None:
    """Else, having got a checkpoint, it needs the next one before it has got the entries after the first."""
    group = Led(tmp_path, behind=PATIENCE_FACTOR * 20 - 10)
    assert await group.compact(tmp_path) == group.at
    group.settle()
    assert group.last_index("b") == group.last_index("a"), "no checkpoint was needed"


async def test_one_that_is_too_far_behind_or_gone_does_not_keep_the_log_from_being_cut(tmp_path: Path) -> None:
    group = Led(tmp_path / "far", behind=PATIENCE_FACTOR * 20 + 10)
    assert await group.compact(tmp_path / "far") == group.replicas["a"].core.last_applied - 5
    group = Led(tmp_path / "gone", behind=40)
    group.replicas["a"].core.link_changed("b", False, new_session=False)
    assert await group.compact(tmp_path / "gone") == group.replicas["a"].core.last_applied - 5
