"""The rules of one Raft replica: messages, proposals and time in; messages out. No I/O of its own, no waiting.

Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), with pre-vote, leader stickiness,
leader step-down without a majority and leadership transfer from Ongaro's thesis (4.2.3, 6.2, 6.4, 9.6, 3.10). The state
itself is PySyncObj's (:mod:`.syncobj`); the rules here decide what reaches it and what leaves it, and when.
"""

from __future__ import annotations

import random

from msgspec.structs import replace
from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.clock import Clock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.elections import Elections
from rstore_replica.raft.consensus.follower import FollowerLog
from rstore_replica.raft.consensus.formation import Formation
from rstore_replica.raft.consensus.leader import LeaderLog
from rstore_replica.raft.consensus.outbox import Outbox, Send
from rstore_replica.raft.consensus.promises import Promises, to_message
from rstore_replica.raft.consensus.reconfigure import Reconfigurer
from rstore_replica.raft.consensus.syncobj import Engine
from rstore_replica.raft.membership import Membership, check_change, encode
from rstore_replica.raft.standing import Standing, Standings
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import COMMAND, CONFIG, RaftError, Role

_REPLIES = frozenset({"vote_reply", "pre_vote_reply", "append_reply", "round_reply", "checkpoint_reply"})


class RaftCore:
    """One replica's part in its group. Any exception out of here means: stop the process."""

    def __init__(
        self,
        *,
        name: str,
        initial: Membership,
        journal: Journal,
        applied: int,
        clock: Clock,
        rng: random.Random,
        config: RaftConfig,
        send: Send,
        feature_level: int = 1,
        standings: Standings | None = None,
    ) -> None:
        """``initial`` is where a fresh group begins; the log has the last word.

        ``applied`` is the index up to which the state machine has the log; ``standings`` are those that were saved.
        """
        self._name = name
        self._journal = journal
        self._clock = clock
        self._config = config
        self._feature_level = feature_level
        self._feature_levels: dict[str, int] = {}  # of other replicas, while the processes that reported them run
        self._heartbeat_due = 0.0
        self._patience = 3
        self._leaving_peers: frozenset[str] = frozenset()  # until another process takes a replica's place
        self._released_by: str | None = None
        self._paused = False
        self._began_at = clock.monotonic()
        self._engine = Engine(name=name, journal=journal, clock=clock, rng=rng, config=config)
        process = rng.getrandbits(63) | 1
        vote = journal.voted_for or ""
        start = Standing(name, journal.identity, process, journal.current_term, journal.last_index, vote)
        begun = to_message(replace(start, name="", identity=0))
        self._outbox = Outbox(self._engine, journal, send, feature_level, begun)
        self._promises = Promises(start, standings or Standings(), journal, self._outbox, rng)
        self._formation = Formation(name=name, initial=initial, journal=journal, outbox=self._outbox)
        self._membership = self._formation.membership
        self._engine.set_peers(member for member in self._membership.names if member != name)
        self._engine.last_applied = applied
        self._engine.commit_index = max(applied, journal.commit_index)
        self._elections = Elections(name, self._engine, journal, self._outbox)
        self._log = LeaderLog(name, self._membership, self._engine, journal, config, self._outbox)
        self._follower = FollowerLog(self._engine, journal, self._outbox)
        self._changes = Reconfigurer(name=name, journal=journal, engine=self._engine, log=self._log, config=config)

    # ------------------------------------------------------------------ questions

    @property
    def membership(self) -> Membership:
        """Who belongs to the group, from the newest entry that says so, committed or not."""
        return self._membership

    @property
    def standings(self) -> Standings:
        """What is known of the members' promises."""
        return self._promises.standings

    @property
    def role(self) -> Role:
        """What this replica is at the moment."""
        return self._engine.role

    @property
    def term(self) -> int:
        """The current term."""
        return self._engine.term

    @property
    def leader(self) -> str | None:
        """Name of the leader of the current term, if known."""
        return self._engine.leader

    @property
    def commit_index(self) -> int:
        """Highest index known to be committed."""
        return self._engine.commit_index

    @property
    def last_applied(self) -> int:
        """Highest index that the state machine has applied."""
        return self._engine.last_applied

    @property
    def is_voter(self) -> bool:
        """Whether this replica counts. One whose volume was emptied does not, until it is taken in again."""
        return self._membership.votes(self._name, self._journal.identity)

    @property
    def feature_level(self) -> int:
        """The least of all members, as reported to this replica; a member that has reported nothing is at level 1."""
        if self._feature_level == 1:
            return 1
        levels = self._feature_levels | {self._name: self._feature_level}
        return min((levels.get(member, 1) for member in self._membership.names), default=1)

    @property
    def is_leader(self) -> bool:
        """Whether this replica believes that it leads."""
        return self._engine.role is Role.LEADER

    @property
    def committed_in_term(self) -> bool:
        """Leader: an entry of its own term is committed, so its commit index is the group's."""
        return self._engine.commit_index >= self._engine.no_op_index

    @property
    def paused(self) -> bool:
        """Whether a checkpoint is being installed."""
        return self._paused

    @property
    def leaving(self) -> frozenset[str]:
        """Replicas that were asked to stop, as they have announced, and this one."""
        return self._leaving_peers | ({self._name} if self._outbox.leaving else frozenset())

    @property
    def released(self) -> bool:
        """Whether the leader has announced that nobody need stay for what it has acknowledged."""
        return self._released_by is not None and self._released_by == self._engine.leader

    def has_quorum_contact(self, within_seconds: float) -> bool:
        """Leader: a majority has answered within that time."""
        since = self._clock.monotonic() - within_seconds
        own, last, membership = self._name, self._engine.last_response, self._membership
        return sum([peer == own or last(peer) > since for peer in membership.voters]) >= membership.majority

    def in_touch(self, within_seconds: float) -> tuple[str, ...]:
        """The other voters that messages can be sent to; for a leader: and that have answered within that time."""
        since = self._clock.monotonic() - within_seconds
        return tuple(
            peer
            for peer in self._membership.voters_but(self._name)
            if self._log.is_connected(peer) and (not self.is_leader or self._engine.last_response(peer) > since)
        )

    def next_deadline(self) -> float:
        """Clock reading at which :meth:`tick` has something to do though nothing happens."""
        if self.is_leader:
            return min(self._heartbeat_due, self._log.news_due)
        return self._engine.election_deadline

    # ------------------------------------------------------------------ time, disk, links, proposals

    def tick(self) -> None:
        """Does what is due by now: elections, heartbeats, the commit index."""
        now = self._clock.monotonic()
        self._refresh_membership()
        if self.is_leader:
            if not (self._outbox.leaving or self.has_quorum_contact(self._config.leader_fallback_seconds)):
                # One that is about to stop commits nothing without the others, but may yet pass on what is committed.
                self._step_down(self._engine.term)
                return
            self._log.advance_commit()
            change = self._changes.next_change(self._membership, now)
            if change is not None:
                self.propose_members(change)
            if now >= self._heartbeat_due:
                self._heartbeat_due = now + self._config.heartbeat_seconds
                self._promises.announce(self._membership, self._engine.term)
                self._log.replicate_all(now, heartbeat=True)
            else:
                self._log.replicate_all(now)
        elif now >= self._engine.election_deadline and not self._paused:
            if not self.is_voter:
                self._elections.forced = False
                self._engine.restart_election_timer(now)
                self._engine.forget_leader()
                self._formation.ask()
            elif self._elections.forced or self._membership.majority == 1:
                self._campaign(now)
            elif self._formation.others_missing and self._patience > 0:
                self._patience -= 1
                self._engine.restart_election_timer(now)
            else:
                self._elections.ask_for_pre_votes(self._membership, now)

    def elect_alone(self) -> None:
        """In a group of one there is nobody to ask or to wait for."""
        self._formation.begin_if_possible()
        self._refresh_membership()
        if self.is_voter and self._membership.majority == 1:
            self._campaign(self._clock.monotonic())

    def propose(self, command: bytes) -> tuple[int, int]:
        """Leader: appends a command; returns the entry's index and term. The next :meth:`tick` sends it."""
        index, term = self._journal.last_index + 1, self._engine.term
        self._journal.append(index, term, COMMAND + command)
        return index, term

    def note_applied(self, index: int) -> None:
        """The state machine has applied the entry."""
        self._engine.last_applied = index

    def link_changed(self, peer: str, connected: bool, *, new_session: bool) -> None:
        """A link came up or broke; after a new session nothing that the peer has sent before counts."""
        if new_session:
            self._promises.new_session(peer)
            self._leaving_peers -= {peer}
            self._feature_levels.pop(peer, None)
            self._changes.forget(peer)
            self._formation.forget(peer)
        self._log.link_changed(peer, connected, leading=self.is_leader, new_session=new_session)
        if connected:
            self._formation.ask(peer)
            self._promises.tell(peer, self._membership)

    def leave(self) -> None:
        """This replica was asked to stop: announces it with every message from now on, and never leads again. It goes
        on until it ends.
        """
        self._outbox.leaving = True
        self._announce()

    def release(self, released: bool) -> None:
        """Leader: announces whether nobody need stay for what this replica has acknowledged."""
        self._outbox.released = released
        self._announce()

    def _announce(self) -> None:
        for peer in self._membership.names:
            if peer != self._name:
                presence = pb.RaftPresence(pristine=self._formation.pristine, reply=True)
                self._outbox.emit(peer, pb.RaftEnvelope(presence=presence))

    # ------------------------------------------------------------------ read points

    def begin_round(self) -> int:
        """Leader: asks every peer, with the next :meth:`tick`, whether it still follows; returns the round's number."""
        return self._log.begin_round()

    def round_confirmed(self, number: int) -> bool:
        """Leader: a majority has answered in its term, after the round began."""
        return self._log.round_confirmed(number)

    # ------------------------------------------------------------------ checkpoints

    def needing_checkpoint(self) -> list[str]:
        """Leader: the connected peers that need entries which the log no longer has. Otherwise nobody."""
        return self._log.needing_checkpoint() if self.is_leader else []

    def log_positions(self) -> list[int]:
        """Leader: up to where each connected peer that the log is enough for holds it for certain; else nothing."""
        return self._log.positions() if self.is_leader else []

    def send_chunk(self, peer: str, chunk: pb.RaftCheckpointChunk) -> None:
        """Sends a part of a checkpoint."""
        self._outbox.emit(peer, pb.RaftEnvelope(checkpoint_chunk=chunk))

    def answer_chunk(self, peer: str, reply: pb.RaftCheckpointReply) -> None:
        """Answers a part of a checkpoint."""
        self._outbox.emit(peer, pb.RaftEnvelope(checkpoint_reply=reply))

    def checkpoint_installed(self, peer: str, next_index: int) -> None:
        """Leader: the peer has installed a checkpoint, or turned out not to need it."""
        self._log.checkpoint_installed(peer, next_index)

    def pause(self, paused: bool) -> None:
        """While paused, nothing is taken from the leader and no election is begun: a checkpoint is being installed."""
        self._paused = paused

    def adopt_checkpoint(self, index: int) -> None:
        """The journal begins anew at ``index`` and the state machine holds what is before."""
        self._engine.last_applied = index
        self._engine.commit_index = index
        self._refresh_membership()

    # ------------------------------------------------------------------ leadership, members

    def successor(self, among: list[str]) -> str | None:
        """Leader: the one of these voters that can take over now: connected, not leaving, with the whole log."""
        able = [peer for peer in among if self._log.is_connected(peer) and peer not in self._leaving_peers]
        best = max(able, key=self._engine.match_index, default=None)
        return best if best is not None and self._engine.match_index(best) == self._journal.last_index else None

    def send_timeout_now(self, peer: str) -> None:
        """Leader: asks the peer to stand for election at once."""
        self._outbox.emit(peer, pb.RaftEnvelope(timeout_now=pb.RaftTimeoutNow()))

    @property
    def change_possible(self) -> bool:
        """Leader: a change of the members may be put into the log now."""
        return self._changes.possible(self._membership)

    def propose_members(self, after: Membership) -> None:
        """Leader: puts the members into the log, from where they are in force. Only when :attr:`change_possible`."""
        assert self.change_possible
        check_change(self._membership, after)
        members = encode(Membership(after.replicas, after.removed))
        self._journal.append(self._journal.last_index + 1, self._engine.term, CONFIG + members)
        self._refresh_membership()

    def would_answer(self, after: Membership) -> bool:
        """Leader: a majority of these voters has answered within an election timeout."""
        return self._changes.in_touch(self._membership, after, self._clock.monotonic())

    def identity_of(self, peer: str) -> int | None:
        """The identity of a connected replica; None while it is not connected or has not reported it."""
        return self._changes.identity_of(peer) if self._log.is_connected(peer) else None

    def ask_identity(self, peer: str) -> None:
        """Sends a replica a message that it answers, with its identity."""
        self._outbox.emit(peer, pb.RaftEnvelope(presence=pb.RaftPresence(pristine=False)))

    def _refresh_membership(self) -> None:
        """Uses the members that the log names now."""
        membership = self._formation.membership
        if membership is not self._membership and membership != self._membership:
            self._membership = membership
            self._engine.set_peers(member for member in membership.names if member != self._name)
            self._log.set_membership(membership)

    # ------------------------------------------------------------------ messages

    def receive(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        """Takes one message from a replica; the link layer has checked its name and both sessions."""
        kind = envelope.WhichOneof("body")
        if self._promises.has_forgotten(peer, envelope):
            return
        if envelope.leaving != (peer in self._leaving_peers):
            self._leaving_peers ^= {peer}
        if envelope.released:
            self._released_by = peer
        elif self._released_by == peer:
            self._released_by = None
        if envelope.feature_level > 1:
            self._feature_levels[peer] = envelope.feature_level
        self._changes.note_identity(peer, envelope.from_identity)
        if kind == "standings":
            self._promises.receive(peer, envelope.standings)
        elif kind == "presence":
            self._formation.on_presence(peer, envelope.presence, envelope.from_identity)
        elif kind in ("pre_vote", "vote") and envelope.to_identity != self._journal.identity:
            return  # meant for the replica that this one was before its volume was emptied
        elif kind == "pre_vote":
            self._elections.on_pre_vote(peer, envelope.pre_vote, refuse=self._refuses_elections)
        elif kind not in _REPLIES or self._counts(peer, envelope):
            self._receive(peer, kind, envelope)
        self._refresh_membership()

    def _counts(self, peer: str, envelope: pb.RaftEnvelope) -> bool:
        """Whether an answer is by a member, and not by what has taken the place of one. Its term is news anyway."""
        member = self._membership.get(peer)
        if member is not None and envelope.term > self._engine.term:
            self._step_down(envelope.term)
        return member is not None and member.identity == envelope.from_identity

    def _receive(self, peer: str, kind: str | None, envelope: pb.RaftEnvelope) -> None:
        if kind == "vote" and (
            self._paused or (envelope.term > self._engine.term and self._refuses_elections and not envelope.vote.forced)
        ):
            return
        if envelope.term > self._engine.term and kind not in ("append", "vote"):
            self._step_down(envelope.term)
        if kind == "append_reply" and envelope.append_reply.success:
            self._promises.note(peer, envelope, index=envelope.append_reply.next_index - 1)
        elif kind == "vote_reply":
            self._promises.note(peer, envelope, voted_for=self._name)
        if kind == "vote":
            if self.is_leader and envelope.term > self._engine.term:
                self._step_down(envelope.term)
            self._elections.on_vote(peer, envelope.term, envelope.vote)
        elif kind == "vote_reply":
            if self._elections.on_vote_reply(peer, envelope.term, self._membership):
                self._lead()
        elif kind == "append":
            self._on_append(peer, envelope)
        elif envelope.term < self._engine.term:
            return  # an answer to something of an earlier term
        elif kind == "append_reply":
            if self.is_leader:
                self._log.on_append_reply(peer, envelope.append_reply)
        elif kind == "round_reply":
            if self.is_leader:
                self._log.on_round_reply(peer, envelope.round_reply.round)
                self._engine.note_response(peer, self._clock.monotonic())
        elif kind == "pre_vote_reply":
            if not self.is_leader and self._elections.on_pre_vote_reply(
                peer, envelope.pre_vote_reply, self._membership
            ):
                self._campaign(self._clock.monotonic())
        elif kind == "timeout_now" and self._engine.leader == peer and self._may_lead:
            self._elections.forced = True
            self._engine.receive(peer, {"type": "timeout_now", "term": envelope.term})

    @property
    def _may_lead(self) -> bool:
        return self.is_voter and not self._paused and not self._outbox.leaving

    @property
    def _refuses_elections(self) -> bool:
        """Elects nobody now: a leader is alive, or others may yet say that this replica has forgotten a promise.

        They have as long for it as a replica at least waits before it stands for election itself.
        """
        if self._paused or self._is_sticky():
            return True
        waited = self._clock.monotonic() - self._began_at
        return waited < self._config.election_timeout_min_seconds and not self._promises.have_come(self._membership)

    def _is_sticky(self) -> bool:
        """A leader is alive as far as this replica can tell, so nobody has reason to stand for election."""
        recent = self._config.election_timeout_min_seconds
        if self.is_leader:
            return self.has_quorum_contact(recent)
        return self._elections.leader_alive(self._clock.monotonic(), recent)

    def _campaign(self, now: float) -> None:
        self._elections.campaign(self._membership, now)
        if self._membership.majority == 1:
            self._lead()

    def _lead(self) -> None:
        self._log.begin()
        self._changes.begin()
        self._heartbeat_due = 0.0
        self._engine.become_leader()
        self._log.replicate_all()

    def _step_down(self, term: int) -> None:
        self._elections.step_down()
        if self.is_leader:
            self._engine.restart_election_timer(self._clock.monotonic())
        self._engine.step_down(term)

    # ------------------------------------------------------------------ the follower's log

    def _on_append(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        if envelope.term < self._engine.term:
            self._follower.decline(peer)
            return
        if envelope.term == self._engine.term and self.is_leader:
            raise RaftError(f"{peer} leads term {envelope.term} too")
        if self._paused:
            if envelope.term > self._engine.term:
                self._step_down(envelope.term)
            self._follower.decline(peer)
            return
        self._elections.leader_contacted(self._clock.monotonic())
        if envelope.term > self._engine.term:
            self._elections.forced = False
        if self.is_leader:
            self._step_down(envelope.term)
        self._follower.take(peer, envelope)
