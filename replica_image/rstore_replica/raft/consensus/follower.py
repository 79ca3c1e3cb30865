"""The follower's side of the log: what it takes of an append, and what it answers."""

from __future__ import annotations

from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.consensus.matching import without_known
from rstore_replica.raft.consensus.outbox import Outbox
from rstore_replica.raft.consensus.syncobj import Engine
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import RaftError


class FollowerLog:
    """Used only while this replica follows."""

    def __init__(self, engine: Engine, journal: Journal, outbox: Outbox) -> None:
        self._engine = engine
        self._journal = journal
        self._outbox = outbox

    def decline(self, peer: str) -> None:
        """Answers an append of which nothing is taken. The term in the answer shows a leader that it was replaced."""
        reply = pb.RaftAppendReply(next_index=self._journal.last_index + 1)
        self._outbox.emit(peer, pb.RaftEnvelope(append_reply=reply))

    def take(self, leader: str, envelope: pb.RaftEnvelope) -> None:
        """Takes the entries that the log lacks. Raises :class:`RaftError` when they contradict what is committed."""
        request = envelope.append
        message, matched = without_known(self._journal, self._engine.commit_index, envelope.term, request)
        for answer in self._engine.receive(leader, message):
            if answer["type"] != "next_node_idx":
                raise RaftError(f"PySyncObj tried to send {answer['type']!r}")
            self._acknowledge(leader, answer["next_node_idx"], success=answer["success"], reset=answer["reset"])
        if matched is not None:
            self._acknowledge(leader, matched + 1, success=True)
        if request.round or (self._journal.dirty and not request.entries):
            # At once, so that neither reads nor the leader's idea of who is alive hang on this replica's disk.
            round_reply = pb.RaftRoundReply(round=request.round)
            # The promise behind it is the term, which must not be forgotten if it is new.
            durable = self._journal.state_durable
            self._outbox.emit(leader, pb.RaftEnvelope(round_reply=round_reply), hold=not durable)

    def _acknowledge(self, leader: str, next_index: int, *, success: bool, reset: bool = False) -> None:
        reply = pb.RaftAppendReply(next_index=next_index, success=success, reset=reset)
        self._outbox.emit(leader, pb.RaftEnvelope(append_reply=reply), hold=True)
