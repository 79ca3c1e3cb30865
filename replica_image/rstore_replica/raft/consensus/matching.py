"""Which entries of an append a follower's log lacks."""

from __future__ import annotations

from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.consensus.adapters import Message
from rstore_replica.raft.membership import decode
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import CONFIG, RaftError


def without_known(journal: Journal, commit: int, term: int, request: pb.RaftAppend) -> tuple[Message, int | None]:
    """The append as PySyncObj may have it: without what the log already holds, so that it never takes that away.

    Where nothing is left of it, PySyncObj gets only term, leader and commit index; then the second value is up to where
    the log matches the leader's, which the caller answers. Raises :class:`RaftError` when the leader contradicts what
    is committed here, ``ValueError`` for members that cannot be read.
    """
    for entry in request.entries:
        if entry.command[:1] == CONFIG:
            decode(entry.command[1:])  # before it is written anywhere
    message: Message = {"type": "append_entries", "term": term, "commit_index": commit}
    previous, previous_term = request.prev_index, request.prev_term
    own_term = journal.term_at(previous)
    if previous <= commit and own_term is not None and own_term != previous_term:
        raise RaftError(f"the leader has term {previous_term} at {previous}, committed here with term {own_term}")
    if previous > commit and own_term != previous_term:
        # PySyncObj refuses it and says from where to send.
        return {**message, "entries": [], "prevLogIdx": previous, "prevLogTerm": previous_term}, None
    skipped = 0
    for entry in request.entries:
        index = previous + skipped + 1
        if index > journal.last_index:
            break
        own_term = journal.term_at(index)
        if own_term is not None and own_term != entry.term:
            if index <= commit:
                raise RaftError(f"the leader has term {entry.term} at {index}, committed here with term {own_term}")
            break
        skipped += 1
    matched = previous + len(request.entries)
    message["commit_index"] = max(commit, min(request.commit_index, matched))
    rest = request.entries[skipped:]
    if not rest:
        return message, matched
    start = previous + skipped
    message["entries"] = [(entry.command, start + 1 + i, entry.term) for i, entry in enumerate(rest)]
    message["prevLogIdx"] = start
    message["prevLogTerm"] = journal.term_at(start)
    return message, None
