"""Hazard 11: no linearizable read: a replica that believes that it leads answers from its own data."""

from __future__ import annotations

from pathlib import Path

from hazards.hazard_ours import OurGroup
from hazards.hazard_stock import StockGroup
from rstore_api.errors import NoLeader
from rstore_replica.raft.consensus.barrier import Barrier


def test_hazard_11_stock_a_leader_that_was_replaced_reads_the_past() -> None:
    group = StockGroup("abc")
    group.elect("a")
    group.put("a", "old")
    group.settle()
    group.settle(lambda sender, to, _: "a" not in (sender, to), rounds=60)
    newer = next(name for name in "bc" if group.is_leader(name))
    answers = group.put(newer, "new")
    group.settle(lambda sender, to, _: "a" not in (sender, to))
    assert answers == [(2, 0)]
    assert group.is_leader("a")
    assert group.replicas["a"].values == ["old"]
    # By everything that can be asked before reading, this is the leader and it is ready.
    assert group.replicas["a"].isReady()
    public = [name for name in dir(group.replicas["a"]) if not name.startswith("_")]
    assert not [name for name in public if "barrier" in name.lower() or "linear" in name.lower()]


async def test_hazard_11_ours_answers_no_read_that_a_majority_has_not_confirmed(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.put("a", b"old")
    group.settle()
    group.drop()
    barrier = Barrier(group.replicas["a"].core, lambda: None, group.clock)
    reads = [barrier.add(10.0) for _ in range(10)]
    for _ in range(10):
        group.clock.advance(0.05)
        group.tick("a")
        barrier.advance()
    assert group.is_leader("a")
    assert not any(read.done() for read in reads)
    # All of them wait for one round of messages, which answers all of them.
    asked = {sent.append.round for _, _, sent in group.wire if sent.append.round}
    assert asked == {1}
    group.settle()
    barrier.advance()
    assert all(read.done() for read in reads)


async def test_hazard_11_ours_a_leader_that_was_replaced_answers_no_read(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.put("a", b"old")
    group.settle()
    group.drop()
    barrier = Barrier(group.replicas["a"].core, lambda: None, group.clock)
    group.elect("b", "c")  # a is not notified
    group.put("b", b"new")
    group.settle(lambda sender, to, _: "a" not in (sender, to))
    assert group.is_leader("a")
    read = barrier.add(10.0)
    barrier.advance()
    group.settle()
    barrier.advance()
    assert not group.is_leader("a")
    assert not read.done()
    barrier.fail(NoLeader())
    assert isinstance(read.exception(), NoLeader)
