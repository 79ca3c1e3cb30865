"""Hazard 8: commands from 64 KiB on are chunked wrongly: two parts say "finish"."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hazards.hazard_ours import OurGroup
from hazards.hazard_stock import StockGroup
from rstore_replica.raft import RaftConfig

SIZE = 128 * 1024


def test_hazard_08_stock_sends_two_last_parts_and_the_follower_breaks() -> None:
    group = StockGroup("abc")
    group.elect("a")
    group.settle()
    # The command, pickled once by ``put``, must be a multiple of 64 KiB, so that its own wrapping begins a new part.
    overhead = len(pickle.dumps((0, (b"x" * SIZE,)), 2)) + 1 - SIZE
    answers = group.put("a", b"x" * (SIZE - overhead))
    group.send("a")
    parts = [item for item in group.wire if item[1] == "b" and "transmission" in item[2]]
    assert [message["transmission"] for _, _, message in parts] == ["start", "finish", "finish"]
    group.hand_over(*parts[0])
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        group.hand_over(*parts[1])
    assert group.last_index("b") < group.last_index("a")
    assert answers == []


@pytest.mark.parametrize("size", [64 * 1024 - 1, 64 * 1024, SIZE - 24, SIZE, RaftConfig().max_entry_bytes])
def test_hazard_08_ours_replicates_entries_of_any_size_up_to_the_cap(tmp_path: Path, size: int) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.settle()
    index = group.put("a", b"x" * size)
    group.settle()
    assert group.committed("a") == index
    assert [replica.values for replica in group.replicas.values()] == [[b"x" * size]] * 3
