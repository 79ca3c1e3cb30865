"""Hazard 10: no pre-vote, no stickiness: a replica that comes back disturbs; a cut-off leader lingers for 30 s."""

from __future__ import annotations

from pathlib import Path

from hazards.hazard_ours import OurGroup
from hazards.hazard_stock import StockGroup


def test_hazard_10_stock_a_replica_that_comes_back_deposes_the_leader() -> None:
    group = StockGroup("abc")
    group.elect("a")
    group.settle()
    before = group.private("a", "raftCurrentTerm")
    # Nothing from or to b arrives for twenty seconds; its connections stay open, as with a broken switch.
    group.settle(lambda sender, to, _: "b" not in (sender, to), rounds=180)
    group.drop()
    assert group.is_leader("a")
    assert group.private("b", "raftCurrentTerm") > before + 10
    group.settle(rounds=40)
    assert group.private("a", "raftCurrentTerm") > before + 10


def test_hazard_10_ours_takes_no_notice_of_it(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.settle()
    term = group.replicas["a"].core.term
    group.settle(lambda sender, to, _: "b" not in (sender, to), rounds=180)
    group.drop()
    assert group.replicas["b"].core.term == term
    group.settle(rounds=40)
    assert group.is_leader("a")
    assert {replica.core.term for replica in group.replicas.values()} == {term}


def test_hazard_10_stock_gives_its_vote_while_the_leader_is_alive() -> None:
    group = StockGroup("abc")
    group.elect("a")
    group.settle()
    vote = {"type": "request_vote", "term": 9, "last_log_index": 99, "last_log_term": 9}
    group.hand_over("b", "c", vote)
    assert [message["type"] for sender, _, message in group.wire if sender == "c"][-1] == "response_vote"


def test_hazard_10_ours_ignores_a_candidate_while_the_leader_is_alive(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.settle()
    group.drop()
    # This includes a replica that stood for election without a pre-vote.
    group.replicas["b"].core._campaign(group.clock.now)
    group.tick("b")
    group.deliver(lambda _, to, sent: to in "ac" and sent.WhichOneof("body") == "vote")
    group.tick("a", "c")
    assert group.is_leader("a")
    assert group.replicas["c"].core.leader == "a"


def test_hazard_10_stock_a_cut_off_leader_lingers() -> None:
    group = StockGroup("abc")
    group.elect("a")
    group.settle()
    group.settle(lambda sender, to, _: "a" not in (sender, to), rounds=90)
    assert any(group.is_leader(name) for name in "bc")
    assert group.is_leader("a")  # ten seconds later


def test_hazard_10_ours_steps_down_within_two_election_timeouts(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.settle()
    rounds = int(2 * group.config.election_timeout_min_seconds / 0.11) + 2
    group.settle(lambda sender, to, _: "a" not in (sender, to), rounds=rounds)
    assert not group.is_leader("a")
    group.settle(lambda sender, to, _: "a" not in (sender, to), rounds=90)
    assert any(group.is_leader(name) for name in "bc")
