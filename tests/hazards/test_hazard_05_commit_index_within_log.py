"""Hazard 5: a persisted commit index above the log's end acknowledges writes that no follower has."""

from __future__ import annotations

from pathlib import Path

from hazards.hazard_ours import OurGroup
from hazards.hazard_stock import StockGroup
from pysyncobj.journal import FileJournal
from rstore_replica.raft import LocalDisk
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.storage.records import Kind, pack_numbers


def test_hazard_05_stock_acknowledges_alone_what_lies_below_a_commit_index_of_old(tmp_path: Path) -> None:
    journal = FileJournal(str(tmp_path / "a.journal"))
    journal.add(b"\1", 1, 0)
    journal.setCurrentTerm(1, "a")
    journal.setRaftCommitIndex(1000)  # the file beside it survived, the entries did not
    journal.onOneSecondTimer()
    journal._destroy()
    group = StockGroup("abc", tmp_path)
    group.elect("a")
    answers = group.put("a", "held by nobody else")
    for _ in range(3):
        group.clock.advance(0.11)
        group.tick("a")
        group.drop()
    assert answers == [(1, 0)]
    assert group.last_index("b") == group.last_index("c") == 1


def test_hazard_05_ours_commits_only_what_a_majority_holds(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a", LocalDisk(), segment_bytes=1 << 20, cache_bytes=1 << 20)
    journal.set_state(1, "a")
    journal._write(journal._segments[-1], Kind.COMMIT, pack_numbers(1000))
    pending = journal.take_sync()
    pending.work()
    pending.done()
    journal.close()
    group = OurGroup("abc", tmp_path)
    assert group.committed("a") == 1
    group.elect("a")
    index = group.put("a", b"held by nobody else")
    for _ in range(3):
        group.clock.advance(0.11)
        group.tick("a")
        group.drop()
    assert group.committed("a") == 1
    assert group.replicas["a"].values == []
    group.settle()
    assert group.committed("a") == index
