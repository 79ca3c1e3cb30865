"""The leader's side of the log: what each peer has, what to send it, and what is thereby committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.outbox import Outbox
from rstore_replica.raft.consensus.syncobj import Engine
from rstore_replica.raft.membership import Membership
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.storage.segments import Entry
from rstore_replica.raft.types import RaftError


@dataclass
class _Peer:
    """What the leader keeps about one other member."""

    connected: bool = False
    window: list[tuple[int, int]] = field(default_factory=list)  # (last index, bytes) of what is unacknowledged
    window_bytes: int = 0
    probing: bool = False  # the peer asked for other entries: one question at a time until it agrees
    probe_due: bool = False
    refused_after: int = -1  # match index at the last refusal
    commit_sent: int = 0
    round_sent: int = 0
    round_answered: int = 0

    def reset_window(self) -> None:
        self.window.clear()
        self.window_bytes = 0

    def acknowledge(self, match_index: int) -> None:
        kept = [item for item in self.window if item[0] > match_index]
        self.window = kept
        self.window_bytes = sum(size for _, size in kept)


class LeaderLog:
    """Used only while this replica leads, but for :meth:`begin` and :meth:`link_changed`."""

    def __init__(
        self,
        own_name: str,
        membership: Membership,
        engine: Engine,
        journal: Journal,
        config: RaftConfig,
        outbox: Outbox,
    ) -> None:
        """``membership`` is the one in force; :meth:`set_membership` changes it."""
        self._own_name = own_name
        self._peers = {peer: _Peer() for peer in membership.names if peer != own_name}
        self._membership = membership
        self.targets = self._targets_of(membership)
        """The members that are sent the log: all but this one."""
        self._journal = journal
        self._config = config
        self._engine = engine
        self._outbox = outbox
        self._round = 0
        self._announced = 0
        self.news_due = inf
        """Clock reading at which the followers are sent the commit index, if no entries carry it before."""

    def set_membership(self, membership: Membership) -> None:
        """Other members from now on. Answers of a member under another identity do not count."""
        before, self._membership = self._membership, membership
        self.targets = self._targets_of(membership)
        for peer in self.targets:
            earlier, now = before.get(peer), membership.get(peer)
            if peer not in self._peers:
                self._peers[peer] = _Peer()
            if earlier is None or now is None or earlier.identity != now.identity:
                self._peers[peer] = _Peer(connected=self._peers[peer].connected)
                self._engine.forget_peer(peer)

    def _targets_of(self, membership: Membership) -> tuple[str, ...]:
        return tuple(name for name in membership.names if name != self._own_name)

    def begin(self) -> None:
        """A term as leader begins: nothing is known about the peers."""
        for state in self._peers.values():
            state.reset_window()
            state.probing = state.probe_due = False
            state.refused_after = -1
            state.commit_sent = state.round_sent = state.round_answered = 0

    def is_connected(self, peer: str) -> bool:
        """Whether messages can be sent to the peer at the moment."""
        return peer in self._peers and self._peers[peer].connected

    def link_changed(self, peer: str, connected: bool, *, leading: bool, new_session: bool) -> None:
        """A link came up or broke; after a new session nothing that the peer has sent before counts."""
        state = self._peers.setdefault(peer, _Peer())
        state.connected = connected
        state.reset_window()
        if not leading or self._membership.get(peer) is None:
            return
        if new_session:
            self._engine.set_match_index(peer, 0)
            self._engine.set_next_index(peer, self._journal.last_index + 1)
        elif self._engine.match_index(peer) > 0:
            self._engine.set_next_index(peer, self._engine.match_index(peer) + 1)

    def needing_checkpoint(self) -> list[str]:
        """The connected peers that need entries which the log no longer has."""
        first = self._journal.first_index
        return [peer for peer in self.targets if self._peers[peer].connected and self._engine.next_index(peer) <= first]

    def positions(self) -> list[int]:
        """Up to where each connected peer that the log is enough for holds it, for certain."""
        first, engine = self._journal.first_index, self._engine
        return [
            max(engine.match_index(peer), first)
            for peer in self.targets
            if self._peers[peer].connected and engine.next_index(peer) > first
        ]

    def checkpoint_installed(self, peer: str, next_index: int) -> None:
        """The peer has installed a checkpoint, or turned out not to need it."""
        if self._membership.get(peer) is None:
            return
        self._peers[peer].reset_window()
        self._engine.set_next_index(peer, max(next_index, self._engine.match_index(peer) + 1))

    def begin_round(self) -> int:
        """Asks every peer whether it still follows; the number identifies this question."""
        self._round += 1
        return self._round

    def on_round_reply(self, peer: str, number: int) -> None:
        """The peer follows in this term, and did so after the question ``number``."""
        self._peers[peer].round_answered = max(self._peers[peer].round_answered, number)

    def round_confirmed(self, number: int) -> bool:
        """A majority has, after the question ``number``, answered in this leader's term."""
        voters = self._membership.voters
        answered = sum(name == self._own_name or self._peers[name].round_answered >= number for name in voters)
        return answered >= self._membership.majority

    def on_append_reply(self, peer: str, reply: pb.RaftAppendReply) -> None:
        """A peer's answer to entries, of this term."""
        state, match, last = self._peers[peer], self._engine.match_index(peer), self._journal.last_index
        next_index = reply.next_index
        if reply.success and next_index > last + 1:
            raise RaftError(f"{peer} acknowledges entry {next_index - 1}, the log ends at {last}")
        if reply.reset:
            next_index = min(max(next_index, match + 1), last + 1)
            if next_index >= self._engine.next_index(peer):
                return  # to a question from before the present one: a refusal only ever leads further back
            # One that refuses again what follows its last acknowledged entry, such as one without room, is asked with
            # the next heartbeat: a question at once would be answered the same way, at the speed of the network.
            state.probe_due = next_index > match + 1 or match != state.refused_after
            state.refused_after = match
            state.probing = True
            state.reset_window()
        before = self._engine.next_index(peer)
        self._engine.receive(
            peer,
            {"type": "next_node_idx", "next_node_idx": next_index, "reset": reply.reset, "success": reply.success},
        )
        if reply.success:
            state.probing = False
            # PySyncObj moves its cursor back to what is acknowledged; what is under way need not be sent again.
            if not reply.reset:
                self._engine.set_next_index(peer, max(before, self._engine.match_index(peer) + 1))
            state.acknowledge(self._engine.match_index(peer))

    def advance_commit(self) -> None:
        """Commits what a majority holds durably, this replica's own disk counted like any other (section 5.4.2)."""
        own, durable, match = self._own_name, self._journal.durable_index, self._engine.match_index
        durable_indexes = sorted([durable if name == own else match(name) for name in self._membership.voters])
        index = durable_indexes[len(durable_indexes) - self._membership.majority]
        if index > self._engine.commit_index and self._journal.term_at(index) == self._engine.term:
            self._engine.commit_index = index

    def replicate_all(self, now: float = -inf, *, heartbeat: bool = False) -> None:
        """Sends every peer what it lacks, as its window allows; with ``heartbeat``, something in any case.

        A commit index goes with the next entries, or by itself when none have come by ``news_due``.
        """
        news = now >= self.news_due
        if news:
            self.news_due = inf
        elif self.news_due == inf and self._engine.commit_index > self._announced and now > -inf:
            self._announced = self._engine.commit_index
            self.news_due = now + self._config.commit_news_seconds
        for peer in self.targets:
            state = self._peers[peer]
            if state.connected:
                self._replicate(peer, state, heartbeat=heartbeat, news=news)

    def _replicate(self, peer: str, state: _Peer, *, heartbeat: bool, news: bool) -> None:
        journal, config = self._journal, self._config
        commit = self._engine.commit_index
        next_index = self._engine.next_index(peer)
        if next_index <= journal.first_index:
            if heartbeat or state.round_sent < self._round:
                self._send_append(peer, state, journal.first_index, [])
            return
        sent = False
        if state.probing:
            if heartbeat or state.probe_due or state.round_sent < self._round:
                state.probe_due = False
                self._send_append(peer, state, next_index - 1, [])
            return
        while (
            next_index <= journal.last_index
            and state.window_bytes < config.append_window_bytes
            and len(state.window) < config.append_window_messages
        ):
            entries = journal.entries(
                next_index, max_count=config.append_batch_entries, max_bytes=config.append_batch_bytes
            )
            self._send_append(peer, state, next_index - 1, entries)
            size = sum(len(entry.command) for entry in entries)
            next_index = entries[-1].index + 1
            state.window.append((next_index - 1, size))
            state.window_bytes += size
            self._engine.set_next_index(peer, next_index)
            sent = True
        if not sent and (heartbeat or (news and state.commit_sent < commit) or state.round_sent < self._round):
            self._send_append(peer, state, next_index - 1, [])

    def _send_append(self, peer: str, state: _Peer, previous: int, entries: Sequence[Entry]) -> None:
        state.commit_sent = self._engine.commit_index
        envelope = pb.RaftEnvelope()  # filled in place: a message put into another is copied
        request = envelope.append
        request.prev_index = previous
        request.prev_term = self._journal.term_at(previous) or 0
        request.commit_index = state.commit_sent
        for entry in entries:
            request.entries.add(term=entry.term, command=entry.command)
        if state.round_answered < self._round:
            request.round = state.round_sent = self._round
        self._outbox.emit(peer, envelope)
