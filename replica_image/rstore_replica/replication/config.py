"""Knobs of replication, with the defaults of the design."""

from __future__ import annotations

from dataclasses import dataclass, field

from rstore_api.domain import limits


@dataclass(frozen=True)
class EndingBounds:
    """How long a replica of an ending primary region waits at most, in seconds."""

    drain_seconds: float = limits.DRAIN_TIMEOUT_MS.default / 1000
    """Altogether, since the region began to end or the replica was asked to stop."""
    settle_seconds: float = 0.2
    """To hear which other replicas were asked to stop at the same time."""
    connect_seconds: float = 3.0
    """For a first connection to any other region; without one there is nothing to wait for."""
    others_seconds: float = 0.5
    """Once one region holds everything, for the other regions that are connected."""
    move_seconds: float = 2.0
    """Once everything is in another region, for a switchover to begin, which has more time than a failover."""


@dataclass(frozen=True)
class ReplicationConfig:
    """The replica's names and how it streams. Durations are seconds of the injected clock, sizes are bytes."""

    region: str
    replica: str
    batch_interval_seconds: float = limits.BATCH_INTERVAL_MS.default / 1000
    max_batch_bytes: int = limits.MAX_BATCH_BYTES.default
    max_batch_rows: int = 1000
    """Applying a batch blocks the event loop; at this many rows for about 5 ms."""
    window_bytes: int = limits.WINDOW_BYTES.default
    window_batches: int = 4096
    heartbeat_seconds: float = 0.5
    silence_seconds: float = 10.0
    """A stream whose other side sent nothing for this long is broken, on either side."""
    stall_seconds: float = 30.0
    """A stream whose oldest batch has not been acknowledged for this long is broken; also one send's deadline."""
    connect_seconds: float = 5.0
    handshake_seconds: float = 15.0
    propose_seconds: float = 10.0
    drain_seconds: float = 2.0
    """How long stopping waits for rows that are being committed; what is not by then comes again from the source."""
    backoff_min_seconds: float = 0.1
    backoff_max_seconds: float = 5.0
    tenure_seconds: float = limits.LEASE_DURATION_MS.default / 1000
    """How long the primary may acknowledge on one round of grants, and the longest that this region grants."""
    rewind_step_rows: int = 256
    rewind_step_bytes: int = 256 << 10
    """What one entry exports of a diverged tail, or undoes: some milliseconds of work for each replica."""
    hold_idle_seconds: float = 60.0
    """How long compaction waits for a region that gets no further."""
    hold_seconds: float = 3600.0
    """How long compaction waits for a region that gets further; after that the region needs a snapshot."""
    ending: EndingBounds = field(default_factory=EndingBounds)
    """How long the end of a primary region waits for other regions."""
    review_seconds: float = 0.5
    """How often roles are looked at, and row sizes measured, even if nothing was signalled."""

    def __post_init__(self) -> None:
        if not 0 <= self.batch_interval_seconds <= 10:
            raise ValueError(f"batch_interval_seconds must be between 0 and 10, not {self.batch_interval_seconds}")
        if self.max_batch_bytes < 1 or self.max_batch_rows < 1:
            raise ValueError("max_batch_bytes and max_batch_rows must be positive")
        if self.window_bytes < self.max_batch_bytes:
            raise ValueError("window_bytes must not be below max_batch_bytes")
        if self.rewind_step_rows < 1 or self.rewind_step_bytes < 1:
            raise ValueError("rewind_step_rows and rewind_step_bytes must be positive")
        if self.tenure_seconds <= 0:
            raise ValueError("tenure_seconds must be positive")
        if self.window_batches < 1:
            raise ValueError("window_batches must be positive")
        if not 0 < self.backoff_min_seconds <= self.backoff_max_seconds:
            raise ValueError("back-off must satisfy 0 < backoff_min_seconds <= backoff_max_seconds")
        if not 0 < self.heartbeat_seconds < self.silence_seconds:
            raise ValueError("heartbeat_seconds must be positive and below silence_seconds")
