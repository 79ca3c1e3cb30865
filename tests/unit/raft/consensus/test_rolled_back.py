"""A replica whose volume went back: nothing that it sends counts, and it takes a new identity."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hazards.hazard_ours import OurGroup
from rstore_api.proto import raft_pb2 as pb
from rstore_replica.raft.types import VolumeRolledBackError


def rolled_back(tmp_path: Path, *, between: int) -> OurGroup:
    """``b`` has acknowledged entries, or given its vote alone, after what its volume is set back to."""
    group = OurGroup("abc", tmp_path)
    group.settle()
    group.crash("b", power=True)
    shutil.copytree(tmp_path / "b", tmp_path / "saved")
    group.start("b")
    group.elect("a")
    for number in range(between):
        group.put("a", b"%d" % number)
    if between:
        group.settle()
    group.drop()
    group.crash("b", power=True)
    shutil.rmtree(tmp_path / "b")
    shutil.copytree(tmp_path / "saved", tmp_path / "b")
    return group


@pytest.mark.parametrize("between", [0, 3])
def test_a_vote_and_an_acknowledgement_that_were_forgotten_are_known_to_the_leader(
    tmp_path: Path, between: int
) -> None:
    group = rolled_back(tmp_path, between=between)
    identity = group.start("b").journal.identity
    group.drop()
    leader = group.replicas["a"].core
    group.replicas["b"].core._campaign(group.clock.now)
    group.tick("b")
    group.deliver(lambda sender, to, sent: (sender, to) == ("b", "a") and sent.HasField("vote"))
    assert (leader.is_leader, leader.term) == (True, 1)
    with pytest.raises(VolumeRolledBackError, match="this volume was rolled back"):
        group.deliver(lambda sender, to, sent: (sender, to) == ("a", "b") and sent.HasField("standings"))
    assert group.replicas["b"].journal.identity != identity


def test_one_that_a_peer_suspects_without_reason_goes_on(tmp_path: Path) -> None:
    group = OurGroup("abc", tmp_path)
    group.elect("a")
    group.put("a", b"x")
    group.settle()
    group.crash("b", power=True)
    start = group.start("b").core._promises._start
    claim = pb.RaftStanding(name="b", process=random.getrandbits(60), term=start.term, index=start.index)
    envelope = pb.RaftEnvelope(term=1, standings=pb.RaftStandings(standings=[claim]))
    group.replicas["b"].core.receive("a", envelope)
    group.settle()
    assert group.last_index("b") == group.last_index("a")


@pytest.mark.parametrize(
    ("answered", "waits", "granted"),
    [("", False, False), ("a", False, False), ("ac", False, True), ("", True, True)],
)
def test_one_that_begins_elects_nobody_before_the_others_have_answered_or_have_had_time_to(
    tmp_path: Path, answered: str, waits: bool, granted: bool
) -> None:
    group = OurGroup("abc", tmp_path)
    group.settle()
    group.crash("b", power=True)
    core = group.start("b").core
    core._began_at = group.clock.now
    group.deliver(lambda sender, to, sent: to == "b" and sender in answered and sent.HasField("standings"))
    group.drop()
    if waits:
        group.clock.advance(group.config.election_timeout_min_seconds)
    candidate = group.replicas["a"].core
    candidate._elections.ask_for_pre_votes(candidate.membership, group.clock.now)
    group.tick("a")
    group.deliver(lambda sender, to, sent: (sender, to) == ("a", "b") and sent.HasField("pre_vote"))
    group.tick("b")
    replies = [sent.pre_vote_reply.granted for sender, _, sent in group.wire if sent.HasField("pre_vote_reply")]
    assert replies == [granted]


def test_a_leader_alone_promises_nothing_in_a_term_that_is_not_durable_yet(tmp_path: Path) -> None:
    """A slow disk: with the power it loses the term that it leads in, and has not gone back by that."""
    group = OurGroup("ab", tmp_path)
    replica = group.replicas["a"]
    promises, journal = replica.core._promises, replica.journal
    members = replica.core.membership

    def promised_term() -> int:
        return max((one.term for one in promises.standings.of(members) if one.name == "a"), default=0)

    before = promised_term()
    journal.set_state(journal.current_term + 7, "a")
    promises.announce(members, journal.current_term)
    assert promised_term() == before
    pending = journal.take_sync()
    pending.work()
    pending.done()
    promises.announce(members, journal.current_term)
    assert promised_term() == journal.current_term
