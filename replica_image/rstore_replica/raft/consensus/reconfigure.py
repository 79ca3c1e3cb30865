"""The leader's changes of the group's members: one at a time, and nobody counts before having caught up.

Ongaro's thesis, 4.1 and 4.2.1, with its later correction: none before an entry of the leader's own term is committed.
Two changes are made without a request: a member that comes back without its data is taken out and in again
under its new identity, and a learner gets its vote when it has caught up.
"""

from __future__ import annotations

from dataclasses import dataclass

from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.leader import LeaderLog
from rstore_replica.raft.consensus.syncobj import Engine
from rstore_replica.raft.membership import Membership, Replica
from rstore_replica.raft.storage.journal import Journal


@dataclass(frozen=True)
class _Round:
    """A learner is to hold the log up to ``target``, which was its end when the round began."""

    target: int
    started: float


class Reconfigurer:
    """Used only while this replica leads, but for :meth:`note_identity` and :meth:`forget`."""

    def __init__(self, *, name: str, journal: Journal, engine: Engine, log: LeaderLog, config: RaftConfig) -> None:
        self._name = name
        self._journal = journal
        self._engine = engine
        self._log = log
        self._config = config
        self._identities: dict[str, int] = {}
        self._rounds: dict[str, _Round] = {}

    def note_identity(self, peer: str, identity: int) -> None:
        """The process that the peer is at present has this identity."""
        self._identities[peer] = identity

    def forget(self, peer: str) -> None:
        """Another process has taken the peer's place."""
        self._identities.pop(peer, None)

    def identity_of(self, peer: str) -> int | None:
        """The identity that the peer last reported; None while its present process has reported none."""
        return self._identities.get(peer)

    def begin(self) -> None:
        """A term as leader begins."""
        self._rounds.clear()

    def possible(self, membership: Membership) -> bool:
        """Whether a change of this membership, the one in force, may be put into the log now."""
        commit = self._engine.commit_index
        return commit >= self._engine.no_op_index and membership.index <= commit

    def in_touch(self, membership: Membership, after: Membership, now: float) -> bool:
        """Whether a majority of the voters of ``after`` is: members that answered within an election timeout, and are
        who they were.
        """
        since = now - self._config.election_timeout_min_seconds
        answering = sum(
            self._log.is_connected(replica.name)
            and self._identities.get(replica.name) == replica.identity
            and membership.get(replica.name) is not None
            and self._engine.last_response(replica.name) > since
            for replica in after.replicas
            if replica.name != self._name and not replica.learner
        )
        return answering + (self._name in after.voters) >= after.majority

    def next_change(self, membership: Membership, now: float) -> Membership | None:
        """Returns the next membership that is due by itself; None when there is none, or it is not possible yet."""
        others = [
            replica
            for replica in membership.replicas
            if (replica.learner or self._identities.get(replica.name, replica.identity) != replica.identity)
            and replica.name != self._name
        ]
        if not others or not self.possible(membership):
            return None
        for replica in others:
            identity = self._identities.get(replica.name)
            if identity is not None and identity != replica.identity and self._log.is_connected(replica.name):
                after = membership.with_replica(Replica(replica.name, replica.address, identity, learner=True))
                if self.in_touch(membership, after, now):
                    return after
        for replica in others:
            if replica.learner and self._caught_up(replica.name, now):
                del self._rounds[replica.name]
                return membership.with_replica(Replica(replica.name, replica.address, replica.identity))
        return None

    def _caught_up(self, name: str, now: float) -> bool:
        last = self._journal.last_index
        running = self._rounds.setdefault(name, _Round(last, now))
        if not self._log.is_connected(name) or running.target > last:
            self._rounds[name] = _Round(last, now)
            return False
        if self._engine.match_index(name) < running.target:
            return False
        if now - running.started <= self._config.election_timeout_min_seconds:
            return True
        self._rounds[name] = _Round(last, now)
        return False
