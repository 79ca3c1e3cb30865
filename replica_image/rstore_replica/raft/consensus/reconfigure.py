"""The leader's changes of the group's members: one at a time, and nobody counts before having caught up.

Ongaro's thesis, 4.1 and 4.2.1, with its later correction: none before an entry of the leader's own term is committed.
What nobody has to ask for happens here by itself: a member that comes back without its data is taken out and in again
under its new identity, and a learner gets its vote when it has caught up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.leader import LeaderLog
from rstore_replica.raft.consensus.syncobj import Engine
from rstore_replica.raft.membership import CONFIG, Membership, Replica, check_change, encode
from rstore_replica.raft.storage.journal import Journal


@dataclass(frozen=True)
class _Round:
    """A learner is to hold the log up to ``target``, which was its end when the round began."""

    target: int
    started: float


class Reconfigurer:
    """Used only while this replica leads, but for :meth:`heard` and :meth:`forget`."""

    def __init__(
        self,
        *,
        name: str,
        journal: Journal,
        engine: Engine,
        log: LeaderLog,
        config: RaftConfig,
        membership: Callable[[], Membership],
        changed: Callable[[], None],
    ) -> None:
        """``changed`` is called when a membership was put into the log."""
        self._name = name
        self._journal = journal
        self._engine = engine
        self._log = log
        self._config = config
        self._membership = membership
        self._changed = changed
        self._identities: dict[str, int] = {}
        self._rounds: dict[str, _Round] = {}

    def heard(self, peer: str, identity: int) -> None:
        """The process that the peer is at present has this identity."""
        self._identities[peer] = identity

    def forget(self, peer: str) -> None:
        """Another process has taken the peer's place."""
        self._identities.pop(peer, None)

    def identity_of(self, peer: str) -> int | None:
        """What :meth:`heard` said last."""
        return self._identities.get(peer)

    def begin(self) -> None:
        """A term as leader begins."""
        self._rounds.clear()

    @property
    def possible(self) -> bool:
        """Whether a change may be put into the log now."""
        commit = self._engine.commit_index
        return commit >= self._engine.no_op_index and self._membership().index <= commit

    def propose(self, after: Membership) -> int:
        """Puts the change into the log, from where it is in force; returns its index. Only when ``possible``."""
        assert self.possible
        check_change(self._membership(), after)
        index = self._journal.last_index + 1
        self._journal.append(index, self._engine.term, CONFIG + encode(Membership(after.replicas, after.removed)))
        self._changed()
        return index

    def in_touch(self, membership: Membership, now: float) -> bool:
        """Whether a majority of those voters was heard from within an election timeout, and are who they were."""
        since = now - self._config.election_timeout_min_seconds
        heard = sum(
            self._log.is_connected(replica.name)
            and self._identities.get(replica.name) == replica.identity
            and self._membership().get(replica.name) is not None
            and self._engine.last_response(replica.name) > since
            for replica in membership.replicas
            if replica.name != self._name and not replica.learner
        )
        return heard + (self._name in membership.voters) >= membership.majority

    def advance(self, now: float) -> None:
        """Makes the next change that is due by itself, if there is one."""
        if not self.possible:
            return
        membership = self._membership()
        others = [replica for replica in membership.replicas if replica.name != self._name]
        for replica in others:
            found = self._identities.get(replica.name)
            if found is not None and found != replica.identity and self._log.is_connected(replica.name):
                after = membership.with_replica(Replica(replica.name, replica.address, found, learner=True))
                if self.in_touch(after, now):
                    self.propose(after)
                    return
        for replica in others:
            if replica.learner and self._caught_up(replica.name, now):
                del self._rounds[replica.name]
                self.propose(membership.with_replica(Replica(replica.name, replica.address, replica.identity)))
                return

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
