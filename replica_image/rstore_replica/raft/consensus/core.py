"""The rules of one Raft replica: messages, proposals and time in; messages out. No I/O of its own, no waiting.

Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), with pre-vote, leader stickiness,
leader step-down without a majority and leadership transfer from Ongaro's thesis (4.2.3, 6.2, 6.4, 9.6, 3.10). The state
itself is PySyncObj's (:mod:`.syncobj`); the rules here decide what reaches it and what leaves it, and when.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.adapters import Message
from rstore_replica.raft.consensus.formation import Formation
from rstore_replica.raft.consensus.leader import LeaderLog
from rstore_replica.raft.consensus.matching import without_known
from rstore_replica.raft.consensus.reconfigure import Reconfigurer
from rstore_replica.raft.consensus.syncobj import COMMAND, Engine
from rstore_replica.raft.membership import Membership, Replica
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import RaftError, Role

Send = Callable[[str, pb.RaftEnvelope, bool], None]
"""Peer, message, and whether the message may leave only after all that is written by now is durable."""

_REPLIES = frozenset({"vote_reply", "pre_vote_reply", "append_reply", "round_reply", "checkpoint_reply"})


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
        checkpoint_wanted: Callable[[str], None],
        initial: Membership | None = None,
        membership_changed: Callable[[Membership], None] = lambda _membership: None,
        feature_level: int = 1,
    ) -> None:
        """``checkpoint_wanted`` is told of peers that need entries which are no longer in the log.

        ``initial`` (by default ``peers`` and this replica) is where a fresh group begins; the log has the last word.
        """
        self._name = name
        self._journal = journal
        self._clock = clock
        self._config = config
        self._send = send
        if initial is None:
            initial = Membership(tuple(Replica(member, "") for member in sorted({name, *peers})), index=1)
        self._membership_changed = membership_changed
        self._feature_level = feature_level
        self._feature_levels: dict[str, int] = {}  # of other replicas, while the processes that reported them run
        self.formation = Formation(name=name, initial=initial, journal=journal, emit=self.emit)
        self.membership = self.formation.membership
        """Who belongs to the group, from the newest entry that says so, committed or not."""
        self._heartbeat_due = 0.0
        self._leader_contact = -1e9
        self._pre_votes: set[str] | None = None
        self._pre_round, self._votes = 0, set[str]()
        self._forced = False
        self._patience = 3
        self.leaving = False
        """This replica was asked to stop: the others are told with every message, and it never leads again."""
        self.released = False
        """As leader: see :meth:`release`."""
        self.leaving_peers: frozenset[str] = frozenset()
        """Replicas that were asked to stop, as they said; until another process takes their place."""
        self.released_by: str | None = None
        """The leader that said that nobody need stay for what it has acknowledged."""
        self.paused = False
        """While a checkpoint is being installed: nothing is taken from the leader, no election is begun."""
        self.log = LeaderLog(name, self.membership, journal, config, self.emit, checkpoint_wanted)
        """What the leader knows of the others' logs."""
        self.engine = Engine(
            name=name,
            peers=tuple(member for member in self.membership.names if member != name),
            journal=journal,
            clock=clock,
            rng=rng,
            config=config,
            send=self._on_engine_message,
            replicate=self.log.replicate_all,
            apply_entry=apply_entry,
        )
        self.log.attach(self.engine)
        self.changes = Reconfigurer(
            name=name,
            journal=journal,
            engine=self.engine,
            log=self.log,
            config=config,
            membership=lambda: self.membership,
            changed=self.refresh_membership,
        )

    # ------------------------------------------------------------------ questions

    @property
    def majority(self) -> int:
        """How many voters decide."""
        return self.membership.majority

    @property
    def is_voter(self) -> bool:
        """Whether this replica counts. One whose volume was emptied does not, until it is taken in again."""
        return self.membership.votes(self._name, self._journal.identity)

    @property
    def feature_level(self) -> int:
        """The least of all members, as reported to this replica; who has reported nothing is at level 1."""
        if self._feature_level == 1:
            return 1
        levels = self._feature_levels | {self._name: self._feature_level}
        return min((levels.get(member, 1) for member in self.membership.names), default=1)

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
        own, last = self._name, self.engine.last_response
        return sum([peer == own or last(peer) > since for peer in self.membership.voters]) >= self.majority

    def next_deadline(self) -> float:
        """Clock reading at which :meth:`tick` has something to do though nothing happens."""
        if self.is_leader:
            return min(self._heartbeat_due, self.log.news_due)
        return self.engine.election_deadline

    # ------------------------------------------------------------------ time, disk, links, proposals

    def tick(self) -> None:
        """Does what is due by now: elections, heartbeats, the commit index."""
        now = self._clock.monotonic()
        self.refresh_membership()
        if self.is_leader:
            if not (self.leaving or self.has_quorum_contact(self._config.leader_fallback_seconds)):
                # One that is about to stop commits nothing without the others, but may yet pass on what is committed.
                self._step_down(self.engine.term)
                return
            self.log.advance_commit()
            self.changes.advance(now)
            if now >= self._heartbeat_due:
                self._heartbeat_due = now + self._config.heartbeat_seconds
                self.log.replicate_all(now, heartbeat=True)
            else:
                self.log.replicate_all(now)
        elif now >= self.engine.election_deadline and not self.paused:
            if not self.is_voter:
                self._forced = False
                self.engine.restart_election_timer(now)
                self.engine.forget_leader()
                self.formation.ask()
            elif self._forced or self.majority == 1:
                self._campaign(now)
            elif self.formation.others_missing and self._patience > 0:
                self._patience -= 1
                self.engine.restart_election_timer(now)
            else:
                self._ask_for_pre_votes(now)

    def elect_alone(self) -> None:
        """In a group of one there is nobody to ask or to wait for."""
        self.formation.begin_if_possible()
        self.refresh_membership()
        if self.is_voter and self.majority == 1:
            self._campaign(self._clock.monotonic())

    def propose(self, command: bytes) -> tuple[int, int]:
        """Leader: appends a command; returns the entry's index and term. The next :meth:`tick` sends it."""
        index, term = self._journal.last_index + 1, self.engine.term
        self._journal.append(index, term, COMMAND + command)
        return index, term

    def link_changed(self, peer: str, connected: bool, *, new_session: bool) -> None:
        """A link came up or broke; after a new session nothing that the peer said before counts."""
        if new_session:
            self.leaving_peers -= {peer}
            self._feature_levels.pop(peer, None)
            self.changes.forget(peer)
            self.formation.forget(peer)
        self.log.link_changed(peer, connected, leading=self.is_leader, new_session=new_session)
        if connected:
            self.formation.ask(peer)

    def send_timeout_now(self, peer: str) -> None:
        """Leader: tells the peer to stand for election at once."""
        self.emit(peer, pb.RaftEnvelope(timeout_now=pb.RaftTimeoutNow()))

    def leave(self) -> None:
        """This replica was asked to stop: tells all others, at once and from now on. It goes on until it ends."""
        self.leaving = True
        self._tell_all()

    def release(self, released: bool) -> None:
        """Leader: tells the others whether they need not stay for what this replica has acknowledged."""
        self.released = released
        self._tell_all()

    def _tell_all(self) -> None:
        for peer in self.membership.names:
            if peer != self._name:
                presence = pb.RaftPresence(pristine=self.formation.pristine, reply=True)
                self.emit(peer, pb.RaftEnvelope(presence=presence))

    def in_touch(self, within_seconds: float) -> tuple[str, ...]:
        """The other voters that messages can be sent to; for a leader: and that were heard from in that time."""
        since = self._clock.monotonic() - within_seconds
        return tuple(
            peer
            for peer in self._other_voters()
            if self.log.is_connected(peer) and (not self.is_leader or self.engine.last_response(peer) > since)
        )

    def adopt_checkpoint(self, index: int) -> None:
        """The journal begins anew at ``index`` and the state machine holds what is before."""
        self.engine.last_applied = index
        self.engine.commit_index = index
        self.refresh_membership()

    # ------------------------------------------------------------------ messages

    def receive(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        """Takes one message from a replica; the link layer has checked who it is and both sessions."""
        kind = envelope.WhichOneof("body")
        if envelope.leaving != (peer in self.leaving_peers):
            self.leaving_peers ^= {peer}
        if envelope.released:
            self.released_by = peer
        elif self.released_by == peer:
            self.released_by = None
        if envelope.feature_level > 1:
            self._feature_levels[peer] = envelope.feature_level
        self.changes.heard(peer, envelope.from_identity)
        if kind == "presence":
            self.formation.on_presence(peer, envelope.presence, envelope.from_identity)
        elif kind in ("pre_vote", "vote") and envelope.to_identity != self._journal.identity:
            return  # meant for the replica that this one was before its volume was emptied
        elif kind == "pre_vote":
            self._on_pre_vote(peer, envelope)
        elif kind not in _REPLIES or self._counts(peer, envelope):
            self._receive(peer, kind, envelope)
        self.refresh_membership()

    def _counts(self, peer: str, envelope: pb.RaftEnvelope) -> bool:
        """Whether an answer is by a member, and not by what has taken the place of one. Its term is news anyway."""
        member = self.membership.get(peer)
        if member is not None and envelope.term > self.engine.term:
            self._step_down(envelope.term)
        return member is not None and member.identity == envelope.from_identity

    def _receive(self, peer: str, kind: str | None, envelope: pb.RaftEnvelope) -> None:
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
        elif kind == "timeout_now" and self.engine.leader == peer and self._may_lead:
            self._forced = True
            self.engine.receive(peer, {"type": "timeout_now", "term": envelope.term})

    @property
    def _may_lead(self) -> bool:
        return self.is_voter and not self.paused and not self.leaving

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
        for peer in self._other_voters():
            self.emit(peer, pb.RaftEnvelope(pre_vote=request))

    def _other_voters(self) -> list[str]:
        return [voter for voter in self.membership.voters if voter != self._name]

    def _campaign(self, now: float) -> None:
        forced, self._forced = self._forced, False
        self._pre_votes = None
        self._votes = {self._name}
        self.engine.begin_candidacy(self._name, now)
        request = pb.RaftVote(last_index=self._journal.last_index, last_term=self._journal.last_term, forced=forced)
        for peer in self._other_voters():
            self.emit(peer, pb.RaftEnvelope(vote=request), hold=True)
        if self.majority == 1:
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
        self.changes.begin()
        self._heartbeat_due = 0.0
        self.engine.become_leader()

    def _step_down(self, term: int) -> None:
        self._pre_votes = None
        self._forced = False
        if self.is_leader:
            self.engine.restart_election_timer(self._clock.monotonic())
        self.engine.step_down(term)

    # ------------------------------------------------------------------ belonging to a group

    def refresh_membership(self) -> None:
        """Goes by the members that the log names now."""
        found = self.formation.membership
        if found == self.membership:
            return
        self.membership = found
        self.engine.set_peers(member for member in found.names if member != self._name)
        self.log.set_membership(found)
        self._membership_changed(found)

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
        message, matched = without_known(self._journal, self.engine.commit_index, envelope.term, request)
        self.engine.receive(peer, message)
        if matched is not None:
            reply = pb.RaftAppendReply(next_index=matched + 1, success=True)
            self.emit(peer, pb.RaftEnvelope(append_reply=reply), hold=True)
        if request.round or (self._journal.dirty and not request.entries):
            # At once, so that neither reads nor the leader's idea of who is alive hang on this replica's disk.
            answer = pb.RaftRoundReply(round=request.round)
            # The promise behind it is the term, which must not be forgotten if it is new.
            self.emit(peer, pb.RaftEnvelope(round_reply=answer), hold=not self._journal.state_durable)

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
        envelope.from_identity = self._journal.identity
        envelope.leaving = self.leaving
        envelope.released = self.released and self.is_leader
        if self._feature_level > 1:
            envelope.feature_level = self._feature_level
        member = self.membership.get(peer)
        envelope.to_identity = member.identity if member is not None else 0
        self._send(peer, envelope, hold)
