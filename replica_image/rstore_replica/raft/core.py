"""The rules of one Raft replica: messages, proposals and time in; messages out. No I/O of its own, no waiting.

Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), with pre-vote, leader stickiness,
leader step-down without a majority and leadership transfer from Ongaro's thesis (4.2.3, 6.2, 6.4, 9.6, 3.10). The state
itself is PySyncObj's (:mod:`.syncobj`); the rules here decide what reaches it and what leaves it, and when.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from rstore_api.proto import raft_pb2 as pb

from .adapters import Message
from .clock import Clock
from .config import RaftConfig
from .journal import Journal
from .leader import LeaderLog
from .syncobj import COMMAND, Engine
from .types import RaftError, Role

Send = Callable[[str, pb.RaftEnvelope, bool], None]
"""Peer, message, and whether the message may leave only after all that is written by now is durable."""


class RaftCore:
    """One replica's part in its group. Any exception out of here means: stop the process."""

    def __init__(
        self,
        *,
        name: str,
        peers: tuple[str, ...],
        journal: Journal,
        clock: Clock,
        rng: random.Random,
        config: RaftConfig,
        send: Send,
        apply_entry: Callable[[bytes], object],
        snapshot_wanted: Callable[[str], None],
    ) -> None:
        """``snapshot_wanted`` is told of peers that need entries which are no longer in the log."""
        self._name = name
        self._journal = journal
        self._clock = clock
        self._config = config
        self._send = send
        self._peers = peers
        self._heartbeat_due = 0.0
        self._leader_contact = -1e9
        self._pre_votes: set[str] | None = None
        self._pre_round = 0
        self._votes: set[str] = set()
        self._forced = False
        self.paused = False
        """While a checkpoint is being installed: nothing is taken from the leader, no election is begun."""
        self.log = LeaderLog(peers, journal, config, self.emit, snapshot_wanted)
        """What the leader knows of the others' logs."""
        self.engine = Engine(
            name=name,
            peers=peers,
            journal=journal,
            clock=clock,
            rng=rng,
            config=config,
            send=self._on_engine_message,
            replicate=self.log.replicate_all,
            apply_entry=apply_entry,
        )
        self.log.attach(self.engine)

    # ------------------------------------------------------------------ questions

    @property
    def majority(self) -> int:
        """How many members, this one counted, decide."""
        return (len(self._peers) + 1) // 2 + 1

    @property
    def is_leader(self) -> bool:
        """Whether this replica believes that it leads."""
        return self.engine.role is Role.LEADER

    @property
    def committed_in_term(self) -> bool:
        """Leader: an entry of its own term is committed, so its commit index is the group's."""
        return self.engine.commit_index >= self.engine.no_op_index

    def has_quorum_contact(self, within_seconds: float) -> bool:
        """Leader: a majority was heard from within that time."""
        since = self._clock.monotonic() - within_seconds
        heard = sum(self.engine.last_response(peer) > since for peer in self._peers)
        return heard + 1 >= self.majority

    def next_deadline(self) -> float:
        """Clock reading at which :meth:`tick` has something to do though nothing happens."""
        if self.is_leader:
            return self._heartbeat_due
        return self.engine.election_deadline

    # ------------------------------------------------------------------ time, disk, links, proposals

    def tick(self) -> None:
        """Does what is due by now: elections, heartbeats, the commit index."""
        now = self._clock.monotonic()
        if self.is_leader:
            if not self.has_quorum_contact(self._config.leader_fallback_seconds):
                self._step_down(self.engine.term)
                return
            self.log.advance_commit()
            if now >= self._heartbeat_due:
                self._heartbeat_due = now + self._config.heartbeat_seconds
                self.log.replicate_all(heartbeat=True)
            else:
                self.log.replicate_all()
        elif now >= self.engine.election_deadline and not self.paused:
            if self._forced or not self._peers:
                self._campaign(now)
            else:
                self._ask_for_pre_votes(now)

    def elect_alone(self) -> None:
        """In a group of one there is nobody to ask or to wait for."""
        self._campaign(self._clock.monotonic())

    def propose(self, command: bytes) -> tuple[int, int]:
        """Leader: appends a command; returns the entry's index and term. The next :meth:`tick` sends it."""
        index, term = self._journal.last_index + 1, self.engine.term
        self._journal.append(index, term, COMMAND + command)
        return index, term

    def link_changed(self, peer: str, connected: bool, *, new_session: bool) -> None:
        """A link came up or broke; after a new session nothing that the peer said before counts."""
        self.log.link_changed(peer, connected, leading=self.is_leader, new_session=new_session)

    def send_timeout_now(self, peer: str) -> None:
        """Leader: tells the peer to stand for election at once."""
        self.emit(peer, pb.RaftEnvelope(timeout_now=pb.RaftTimeoutNow()))

    def adopt_snapshot(self, index: int) -> None:
        """The journal begins anew at ``index`` and the state machine holds what is before."""
        self.engine.last_applied = index
        self.engine.commit_index = index

    # ------------------------------------------------------------------ messages

    def receive(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        """Takes one message from a member; the link layer has checked who it is and both sessions."""
        kind = envelope.WhichOneof("body")
        if kind == "pre_vote":
            self._on_pre_vote(peer, envelope)
            return
        if kind == "vote" and envelope.term > self.engine.term and self._is_sticky() and not envelope.vote.forced:
            return
        if envelope.term > self.engine.term and kind not in ("append", "vote"):
            self._step_down(envelope.term)
        if kind == "vote":
            self._on_vote(peer, envelope)
        elif kind == "vote_reply":
            self._on_vote_reply(peer, envelope)
        elif kind == "append":
            self._on_append(peer, envelope)
        elif envelope.term < self.engine.term:
            return  # an answer to something of an earlier term
        elif kind == "append_reply":
            if self.is_leader:
                self.log.on_append_reply(peer, envelope.append_reply)
        elif kind == "round_reply":
            if self.is_leader:
                self.log.on_round_reply(peer, envelope.round_reply.round)
                self.engine.note_response(peer, self._clock.monotonic())
        elif kind == "pre_vote_reply":
            self._on_pre_vote_reply(peer, envelope.pre_vote_reply)
        elif kind == "timeout_now" and self.engine.leader == peer and not self.paused:
            self._forced = True
            self.engine.receive(peer, {"type": "timeout_now", "term": envelope.term})

    def _is_sticky(self) -> bool:
        """A leader is alive as far as this replica can tell, so nobody has reason to stand for election."""
        recent = self._config.election_timeout_min_seconds
        if self.is_leader:
            return self.has_quorum_contact(recent)
        return self._clock.monotonic() - self._leader_contact < recent

    def _on_pre_vote(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        request = envelope.pre_vote
        mine = (self._journal.last_term, self._journal.last_index)
        granted = (
            request.next_term > self.engine.term
            and (request.last_term, request.last_index) >= mine
            and not self._is_sticky()
            and not self.paused
        )
        self.emit(peer, pb.RaftEnvelope(pre_vote_reply=pb.RaftPreVoteReply(round=request.round, granted=granted)))

    def _on_pre_vote_reply(self, peer: str, reply: pb.RaftPreVoteReply) -> None:
        if self._pre_votes is None or reply.round != self._pre_round or not reply.granted or self.is_leader:
            return
        self._pre_votes.add(peer)
        if len(self._pre_votes) >= self.majority:
            self._campaign(self._clock.monotonic())

    def _ask_for_pre_votes(self, now: float) -> None:
        self.engine.restart_election_timer(now)
        self.engine.forget_leader()
        self._pre_round += 1
        self._pre_votes = {self._name}
        request = pb.RaftPreVote(
            round=self._pre_round,
            next_term=self.engine.term + 1,
            last_index=self._journal.last_index,
            last_term=self._journal.last_term,
        )
        for peer in self._peers:
            self.emit(peer, pb.RaftEnvelope(pre_vote=request))

    def _campaign(self, now: float) -> None:
        forced, self._forced = self._forced, False
        self._pre_votes = None
        self._votes = {self._name}
        self.engine.begin_candidacy(self._name, now)
        request = pb.RaftVote(last_index=self._journal.last_index, last_term=self._journal.last_term, forced=forced)
        for peer in self._peers:
            self.emit(peer, pb.RaftEnvelope(vote=request), hold=True)
        if not self._peers:
            self._lead()

    def _on_vote(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        if self.paused:
            return
        request = envelope.vote
        if self.is_leader and envelope.term > self.engine.term:
            self._step_down(envelope.term)
        self.engine.receive(
            peer,
            {
                "type": "request_vote",
                "term": envelope.term,
                "last_log_index": request.last_index,
                "last_log_term": request.last_term,
            },
        )

    def _on_vote_reply(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        if envelope.term != self.engine.term or self.engine.role is not Role.CANDIDATE or peer in self._votes:
            return
        self._votes.add(peer)
        if len(self._votes) >= self.majority:
            self._lead()

    def _lead(self) -> None:
        self.log.begin()
        self._heartbeat_due = 0.0
        self.engine.become_leader()

    def _step_down(self, term: int) -> None:
        self._pre_votes = None
        self._forced = False
        if self.is_leader:
            self.engine.restart_election_timer(self._clock.monotonic())
        self.engine.step_down(term)

    # ------------------------------------------------------------------ the follower's log

    def _on_append(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        if envelope.term < self.engine.term:
            # Our term in the envelope tells a leader that it has been replaced.
            self.emit(peer, pb.RaftEnvelope(append_reply=pb.RaftAppendReply(next_index=self._journal.last_index + 1)))
            return
        if envelope.term == self.engine.term and self.is_leader:
            raise RaftError(f"{peer} leads term {envelope.term} too")
        if self.paused:
            if envelope.term > self.engine.term:
                self._step_down(envelope.term)
            # Alive, but with nothing to say about the log.
            self.emit(peer, pb.RaftEnvelope(append_reply=pb.RaftAppendReply(next_index=self._journal.last_index + 1)))
            return
        self._leader_contact = self._clock.monotonic()
        self._pre_votes = None
        if envelope.term > self.engine.term:
            self._forced = False
        if self.is_leader:
            self._step_down(envelope.term)
        request = envelope.append
        message = self._matched(peer, envelope.term, request)
        if message is not None:
            self.engine.receive(peer, message)
        if request.round or (self._journal.dirty and not request.entries):
            # At once, so that neither reads nor the leader's idea of who is alive hang on this replica's disk.
            reply = pb.RaftRoundReply(round=request.round)
            # The promise behind it is the term, which must not be forgotten if it is new.
            self.emit(peer, pb.RaftEnvelope(round_reply=reply), hold=not self._journal.state_durable)

    def _matched(self, peer: str, term: int, request: pb.RaftAppend) -> Message | None:
        """The append as PySyncObj may have it: without what the log already holds, so that it never takes that away.

        Where nothing is left of it, PySyncObj gets only term, leader and commit index, and the answer is sent here.
        """
        journal, commit = self._journal, self.engine.commit_index
        message: Message = {"type": "append_entries", "term": term, "commit_index": commit}
        previous, previous_term = request.prev_index, request.prev_term
        known = journal.term_at(previous)
        if previous <= commit and known is not None and known != previous_term:
            raise RaftError(f"the leader has term {previous_term} at {previous}, committed here with term {known}")
        if previous > commit and known != previous_term:
            # PySyncObj refuses it and says from where to send.
            return {**message, "entries": [], "prevLogIdx": previous, "prevLogTerm": previous_term}
        skipped = 0
        for entry in request.entries:
            index = previous + skipped + 1
            if index > journal.last_index:
                break
            held = journal.term_at(index)
            if held is not None and held != entry.term:
                if index <= commit:
                    raise RaftError(f"the leader has term {entry.term} at {index}, committed here with term {held}")
                break
            skipped += 1
        matched = previous + len(request.entries)
        message["commit_index"] = max(commit, min(request.commit_index, matched))
        rest = request.entries[skipped:]
        if not rest:
            self.engine.receive(peer, message)
            reply = pb.RaftAppendReply(next_index=matched + 1, success=True)
            self.emit(peer, pb.RaftEnvelope(append_reply=reply), hold=True)
            return None
        start = previous + skipped
        message["entries"] = [(entry.command, start + 1 + i, entry.term) for i, entry in enumerate(rest)]
        message["prevLogIdx"] = start
        message["prevLogTerm"] = journal.term_at(start)
        return message

    # ------------------------------------------------------------------ out

    def _on_engine_message(self, peer: str, message: Message) -> None:
        """What PySyncObj itself wants to say: answers of a follower and votes. Both promise something durable."""
        if message["type"] == "next_node_idx":
            reply = pb.RaftAppendReply(
                next_index=message["next_node_idx"], success=message["success"], reset=message["reset"]
            )
            self.emit(peer, pb.RaftEnvelope(append_reply=reply), hold=True)
        elif message["type"] == "response_vote":
            self._pre_votes = None
            self.emit(peer, pb.RaftEnvelope(vote_reply=pb.RaftVoteReply()), hold=True)
        else:
            raise RaftError(f"PySyncObj tried to send {message['type']!r}")

    def emit(self, peer: str, envelope: pb.RaftEnvelope, *, hold: bool = False) -> None:
        """Sends in the current term; ``hold``: not before all that is written by now is durable."""
        envelope.term = self.engine.term
        self._send(peer, envelope, hold)
