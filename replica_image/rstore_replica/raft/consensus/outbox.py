"""What every message of a replica to another one carries: its term, both identities, and its announcements."""

from __future__ import annotations

from collections.abc import Callable

from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.consensus.syncobj import Engine
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import Role

Send = Callable[[str, pb.RaftEnvelope, bool], None]
"""Peer, message, and whether the message may leave only after all that is written by now is durable."""


class Outbox:
    """Completes messages and hands them to the links."""

    def __init__(
        self, engine: Engine, journal: Journal, send: Send, feature_level: int, start: pb.RaftStanding
    ) -> None:
        """``start`` is what this process began with."""
        self._start = start
        self._engine = engine
        self._journal = journal
        self._send = send
        self._feature_level = feature_level
        self.leaving = False
        """This replica was asked to stop."""
        self.released = False
        """While this replica leads: nobody need stay for what it has acknowledged."""

    def emit(self, peer: str, envelope: pb.RaftEnvelope, *, hold: bool = False) -> None:
        """Sends in the current term; ``hold``: not before all that is written by now is durable."""
        envelope.term = self._engine.term
        envelope.from_identity = self._journal.identity
        envelope.leaving = self.leaving
        envelope.released = self.released and self._engine.role is Role.LEADER
        if self._feature_level > 1:
            envelope.feature_level = self._feature_level
        if not (envelope.HasField("append") or envelope.HasField("checkpoint_chunk")):
            envelope.start.CopyFrom(self._start)
        membership = self._journal.memberships.latest
        member = None if membership is None else membership.get(peer)
        envelope.to_identity = member.identity if member is not None else 0
        self._send(peer, envelope, hold)
