"""Hazard 6: acknowledgements carry no term; one that comes late commits entries that are not replicated."""

from __future__ import annotations

from pathlib import Path

from hazards.hazard_ours import OurGroup
from hazards.hazard_stock import StockGroup
from rstore_api.proto import raft_pb2 as pb

NAMES = "abcde"


def test_hazard_06_stock_counts_an_ack_of_an_earlier_term() -> None:
    group = StockGroup(NAMES)
    group.elect("a")
    group.settle()
    # a leads term 1 and reaches only b, whose acknowledgement of 20 entries stays on the way.
    for number in range(20):
        group.put("a", number)
    group.send("a")
    group.deliver(lambda sender, to, _: (sender, to) == ("a", "b"))
    late = [item for item in group.wire if item[0] == "b" and item[2]["type"] == "next_node_idx"][-1]
    assert late[2]["next_node_idx"] - 1 == group.last_index("a")
    group.drop()
    # c leads term 2; a and b give up the 20 entries. Then a leads term 3.
    group.elect("c", "de")
    group.settle()
    assert group.log("a") == group.log("b") == group.log("c")
    group.elect("a")
    group.settle()
    lonely = group.put("a", "held by a and d only")
    group.send("a")
    group.deliver(lambda sender, to, _: {sender, to} == {"a", "d"})
    group.deliver(lambda sender, to, _: (sender, to) == ("d", "a"))
    group.tick("a")
    assert lonely == []
    group.hand_over(*late)
    group.tick("a")
    assert lonely == [(1, 0)]
    assert sum(group.last_index(name) == group.last_index("a") for name in NAMES) == 2


def test_hazard_06_ours_drops_an_ack_of_an_earlier_term(tmp_path: Path) -> None:
    group = OurGroup(NAMES, tmp_path)
    group.elect("a")
    group.settle()
    for number in range(20):
        group.put("a", b"%d" % number)
    group.tick("a")
    group.deliver(lambda sender, to, _: (sender, to) == ("a", "b"))
    group.tick("b")
    late = [item for item in group.wire if item[0] == "b" and item[2].WhichOneof("body") == "append_reply"][-1]
    assert late[2].append_reply.next_index - 1 == group.last_index("a")
    group.drop()
    group.elect("c", "de")
    group.settle()
    assert group.last_index("a") == group.last_index("b") == group.last_index("c")
    group.elect("a")
    group.settle()
    index = group.put("a", b"held by a and d only")
    group.tick("a")
    group.deliver(lambda sender, to, _: {sender, to} == {"a", "d"})
    group.tick("d")
    group.deliver(lambda sender, to, _: (sender, to) == ("d", "a"))
    group.hand_over(*late)
    group.tick("a")
    assert group.committed("a") == index - 1
    group.settle()
    assert group.committed("a") == index


def test_hazard_06_stock_counts_an_ack_of_a_process_that_is_gone(tmp_path: Path) -> None:
    group = StockGroup("abc", tmp_path)
    group.elect("a")
    group.settle()
    answers = group.put("a", "held by a alone in the end")
    group.send("a")
    group.deliver(lambda sender, to, _: (sender, to) == ("a", "b"))
    late = [item for item in group.wire if item[0] == "b"]
    group.drop()
    (tmp_path / "b.journal").unlink()
    (tmp_path / "b.journal.meta").unlink()
    group.start("b")
    for item in late:
        group.hand_over(*item)
    group.tick("a")
    assert answers == [(1, 0)]
    assert group.last_index("b") == 1
    assert group.last_index("c") < group.last_index("a")


def test_hazard_06_ours_drops_what_an_earlier_process_said(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.settle()
    index = group.put("a", b"held by a alone in the end")
    group.tick("a")
    group.deliver(lambda sender, to, _: (sender, to) == ("a", "b"))
    group.tick("b")
    late: list[tuple[str, str, pb.RaftEnvelope]] = [item for item in group.wire if item[0] == "b"]
    assert any(item[2].append_reply.next_index == index + 1 for item in late)
    group.drop()
    group.crash("b", power=False)
    group.start("b")
    for item in late:
        group.hand_over(*item)
    group.tick("a")
    assert group.committed("a") == index - 1
    assert group.replicas["a"].core._engine.match_index("b") == 0
