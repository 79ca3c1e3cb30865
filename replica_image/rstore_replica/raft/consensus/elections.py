"""How a replica comes to lead: pre-votes, votes, and when none are asked for or given.

Ongaro's thesis, 4.2.3 (a replica that follows a live leader disturbs no election), 9.6 (pre-vote) and 3.10 (leadership
transfer). Who has voted for whom is PySyncObj's to keep, see :mod:`.syncobj`.
"""

from __future__ import annotations

from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.consensus.outbox import Outbox
from rstore_replica.raft.consensus.syncobj import Engine
from rstore_replica.raft.membership import Membership
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import RaftError, Role


class Elections:
    """One replica's part in elections: as a candidate, and as a voter that is asked."""

    def __init__(self, name: str, engine: Engine, journal: Journal, outbox: Outbox) -> None:
        self._name = name
        self._engine = engine
        self._journal = journal
        self._outbox = outbox
        self._leader_contact = -1e9
        self._pre_votes: set[str] | None = None
        self._pre_round, self._votes = 0, set[str]()
        self.forced = False
        """The leader has asked this replica to take over: the next election needs no pre-vote."""

    def leader_contacted(self, now: float) -> None:
        """The leader of the current term, or of a higher one, has sent entries."""
        self._leader_contact = now
        self._pre_votes = None

    def leader_alive(self, now: float, within_seconds: float) -> bool:
        """Whether a leader has sent entries within that time."""
        return now - self._leader_contact < within_seconds

    def step_down(self) -> None:
        """This replica follows from now on."""
        self._pre_votes = None
        self.forced = False

    # ------------------------------------------------------------------ as a candidate

    def ask_for_pre_votes(self, membership: Membership, now: float) -> None:
        """Asks the other voters whether they would elect this replica."""
        self._engine.restart_election_timer(now)
        self._engine.forget_leader()
        self._pre_round += 1
        self._pre_votes = {self._name}
        request = pb.RaftPreVote(
            round=self._pre_round,
            next_term=self._engine.term + 1,
            last_index=self._journal.last_index,
            last_term=self._journal.last_term,
        )
        for peer in membership.voters_but(self._name):
            self._outbox.emit(peer, pb.RaftEnvelope(pre_vote=request))

    def on_pre_vote_reply(self, peer: str, reply: pb.RaftPreVoteReply, membership: Membership) -> bool:
        """Returns whether a majority would elect this replica now."""
        if self._pre_votes is None or reply.round != self._pre_round or not reply.granted:
            return False
        self._pre_votes.add(peer)
        return len(self._pre_votes) >= membership.majority

    def campaign(self, membership: Membership, now: float) -> None:
        """Begins a term, votes for itself and asks the other voters."""
        forced, self.forced = self.forced, False
        self._pre_votes = None
        self._votes = {self._name}
        self._engine.begin_candidacy(self._name, now)
        request = pb.RaftVote(last_index=self._journal.last_index, last_term=self._journal.last_term, forced=forced)
        for peer in membership.voters_but(self._name):
            self._outbox.emit(peer, pb.RaftEnvelope(vote=request), hold=True)

    def on_vote_reply(self, peer: str, term: int, membership: Membership) -> bool:
        """Returns whether this replica has won the election by this vote."""
        if term != self._engine.term or self._engine.role is not Role.CANDIDATE or peer in self._votes:
            return False
        self._votes.add(peer)
        return len(self._votes) >= membership.majority

    # ------------------------------------------------------------------ as a voter

    def on_pre_vote(self, peer: str, request: pb.RaftPreVote, *, refuse: bool) -> None:
        """Answers whether this replica would elect the peer; ``refuse``: it would not in any case."""
        mine = (self._journal.last_term, self._journal.last_index)
        granted = (
            not refuse and request.next_term > self._engine.term and (request.last_term, request.last_index) >= mine
        )
        reply = pb.RaftPreVoteReply(round=request.round, granted=granted)
        self._outbox.emit(peer, pb.RaftEnvelope(pre_vote_reply=reply))

    def on_vote(self, peer: str, term: int, request: pb.RaftVote) -> None:
        """Gives the peer this replica's vote in that term, if it may have it."""
        message = {
            "type": "request_vote",
            "term": term,
            "last_log_index": request.last_index,
            "last_log_term": request.last_term,
        }
        for answer in self._engine.receive(peer, message):
            if answer["type"] != "response_vote":
                raise RaftError(f"PySyncObj tried to send {answer['type']!r}")
            self._pre_votes = None
            self._outbox.emit(peer, pb.RaftEnvelope(vote_reply=pb.RaftVoteReply()), hold=True)
