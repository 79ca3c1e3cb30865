"""Counts how often the region's leader has changed, as this replica has seen it."""

from __future__ import annotations

from rstore_replica.raft.types import GroupStatus


class LeaderChanges:
    """One for each new leader, or term of the same one; a time without a leader counts for nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._seen: tuple[str, int] | None = None

    def note(self, status: GroupStatus) -> None:
        """Called after each change of the group's status."""
        if status.leader is None or (status.leader, status.term) == self._seen:
            return
        self._seen = status.leader, status.term
        self.count += 1
