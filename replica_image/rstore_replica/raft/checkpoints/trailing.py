"""What of the log a compaction leaves behind the checkpoint."""

from __future__ import annotations

from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.core import RaftCore
from rstore_replica.raft.storage.journal import Journal

PATIENCE_FACTOR = 4
"""For a peer that is behind, this many times as much is kept as otherwise."""


def first_to_keep(core: RaftCore, journal: Journal, index: int, config: RaftConfig) -> int:
    """Where the log may begin once a checkpoint stands for all up to ``index``.

    Besides what is always kept, a leader keeps what a connected peer is being sent: else one that has just got a
    checkpoint and is not done with what came meanwhile would need the next one, and so on under load. Bounded by
    :data:`PATIENCE_FACTOR`.
    """
    first = max(journal.first_index, index - config.trailing_entries)
    excess = journal.size_between(first, index) - config.trailing_bytes
    while excess > 0 and first < index:
        excess -= journal.size_between(first, first)
        first += 1
    needed = min(core.log_positions(), default=first)
    entries = PATIENCE_FACTOR * max(config.trailing_entries, config.checkpoint_entries)
    size = PATIENCE_FACTOR * max(config.trailing_bytes, config.checkpoint_bytes)
    if needed < first and index - needed <= entries and journal.size_between(needed, index) <= size:
        return needed
    return first
