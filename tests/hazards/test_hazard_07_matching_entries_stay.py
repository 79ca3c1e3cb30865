"""Hazard 7: a follower truncates on every append, also where the entries match, and a stale snapshot does the same."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hazards.hazard_clock import HandClock
from hazards.hazard_groups import HandTransport, Listing, make_group, until
from hazards.hazard_ours import OurGroup
from hazards.hazard_stock import StockGroup
from rstore_api.proto import raft_pb2 as pb
from rstore_replica.raft import RaftError
from rstore_replica.raft.checkpoints.store import FileSum, Manifest


def test_hazard_07_stock_gives_up_acknowledged_entries_at_a_late_append() -> None:
    group = StockGroup("abc")
    group.elect("a")
    group.settle()
    first = group.put("a", "first")
    group.send("a")
    late = [item for item in group.wire if item[1] == "b" and item[2].get("entries")][-1]
    group.settle()
    answers = [group.put("a", number) for number in range(10)]
    group.settle()
    assert first + [answer for [answer] in answers] == [(number, 0) for number in range(1, 12)]
    last_index = group.last_index("b")
    assert group.private("b", "raftLastApplied") == last_index
    group.hand_over(*late)
    assert group.last_index("b") == last_index - 10  # applied, acknowledged, and gone
    assert group.private("b", "raftLastApplied") == last_index


def test_hazard_07_ours_keeps_them(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.settle()
    group.put("a", b"first")
    group.tick("a")
    late = [item for item in group.wire if item[1] == "b" and item[2].append.entries][-1]
    group.settle()
    for number in range(10):
        group.put("a", b"%d" % number)
    group.settle()
    last_index = group.last_index("b")
    assert last_index == group.last_index("a") == group.committed("b")
    group.hand_over(*late)
    assert group.last_index("b") == last_index
    assert group.committed("b") == last_index


def test_hazard_07_ours_stops_rather_than_truncate_what_is_committed(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.put("a", b"committed")
    group.settle()
    last_index = group.last_index("b")
    assert group.committed("b") == last_index
    other = pb.RaftAppend(
        prev_index=last_index - 1,
        prev_term=group.replicas["b"].journal.term_at(last_index - 1) or 0,
        commit_index=last_index - 1,
        entries=[pb.RaftLogEntry(term=9, command=b"\0another")],
    )
    with pytest.raises(RaftError, match="committed here"):
        group.replicas["b"].core.receive("c", pb.RaftEnvelope(term=9, append=other))
    assert group.last_index("b") == last_index


def test_hazard_07_stock_goes_back_to_a_stale_snapshot() -> None:
    group = StockGroup("ab")
    group.elect("a")
    group.put("a", "old")
    group.put("a", "older")
    group.settle()
    group.replicas["a"].forceLogCompaction()
    group.tick("a")
    serializer = group.private("a", "serializer")
    group.tick("a")
    pieces = [serializer.getTransmissionData("b"), serializer.getTransmissionData("b")]
    for number in range(10):
        group.put("a", number)
    group.settle()
    last_index, applied = group.last_index("b"), group.private("b", "raftLastApplied")
    assert applied == last_index
    for piece in pieces:
        stale = {"type": "append_entries", "term": 1, "commit_index": 1, "serialized": piece}
        group.hand_over("a", "b", stale)
    assert group.private("b", "raftLastApplied") < applied
    assert group.last_index("b") < last_index


async def test_hazard_07_ours_needs_no_snapshot_of_what_it_has(tmp_path: Path) -> None:
    transport, machine, clock = HandTransport(), Listing(), HandClock()
    group = make_group(tmp_path, machine, transport=transport, names="abc", clock=clock)
    await group.start()
    entries = [pb.RaftLogEntry(term=1, command=b"\0%d" % number) for number in range(10)]
    append = pb.RaftAppend(prev_index=1, prev_term=0, commit_index=11, entries=entries)
    transport.say("b", pb.RaftEnvelope(term=1, append=append))
    await until(lambda: group.status().applied_index == 11, "all entries are applied")
    manifest = Manifest(index=3, term=1, base_applied=3, files=(FileSum("list", 1, 0),))
    chunk = pb.RaftCheckpointChunk(
        transfer=1, manifest=msgspec.json.encode(manifest), file="list", data=b"x", last=True
    )
    transport.say("b", pb.RaftEnvelope(term=1, checkpoint_chunk=chunk))
    await until(lambda: transport.last("checkpoint_reply", "b"), "an answer")
    answer = transport.last("checkpoint_reply", "b")
    assert answer is not None
    assert (answer.checkpoint_reply.installed, answer.checkpoint_reply.next_index) == (True, 12)
    assert group.status().last_index == 11
    assert machine.values == [b"%d" % number for number in range(10)]
    await group.stop()
