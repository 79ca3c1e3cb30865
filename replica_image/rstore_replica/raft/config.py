"""The settings of a group."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class RaftConfig:
    """Timeouts, sizes and bounds of one group; the defaults suit one region with a LAN between its replicas."""

    election_timeout_min_seconds: float = 1.0
    election_timeout_max_seconds: float = 2.0
    heartbeat_seconds: float = 0.1
    commit_news_seconds: float = 0.005
    """After at most this time followers are sent the commit index, when no entry carries it."""
    max_entry_bytes: int = 2 * MEBIBYTE + 256 * 1024
    max_inflight_proposals: int = 1024
    max_inflight_bytes: int = 64 * MEBIBYTE
    append_batch_bytes: int = MEBIBYTE
    append_batch_entries: int = 1024
    append_window_bytes: int = 8 * MEBIBYTE
    append_window_messages: int = 256
    segment_bytes: int = 16 * MEBIBYTE
    tail_cache_bytes: int = 16 * MEBIBYTE
    checkpoint_entries: int = 10_000
    checkpoint_bytes: int = 64 * MEBIBYTE
    trailing_entries: int = 10_000
    trailing_bytes: int = 64 * MEBIBYTE
    apply_slice_seconds: float = 0.005
    checkpoint_chunk_bytes: int = 512 * 1024
    checkpoint_chunk_timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuses settings under which elections could not work."""
        if not 0 < self.heartbeat_seconds * 3 < self.election_timeout_min_seconds < self.election_timeout_max_seconds:
            raise ValueError(
                "raft: need 3 × heartbeat < electionTimeoutMin < electionTimeoutMax, got "
                f"{self.heartbeat_seconds} s, {self.election_timeout_min_seconds} s, "
                f"{self.election_timeout_max_seconds} s"
            )

    @property
    def leader_fallback_seconds(self) -> float:
        """A leader steps down when no majority has answered within this time."""
        return 2 * self.election_timeout_min_seconds
