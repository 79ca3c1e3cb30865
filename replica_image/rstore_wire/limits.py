"""What one caller, and all callers together, may make a server do and keep."""

from __future__ import annotations

from dataclasses import dataclass, field

from rstore_wire.frames import Work


def _work_per_second() -> dict[Work, int]:
    return {
        Work.SETTINGS: 10,
        Work.PING: 1_000,
        Work.RESET: 2_500,
        Work.REFUSED: 1_000,
        Work.SMALL_WINDOW: 1_000,
        Work.OTHER: 1_000,
    }


@dataclass(frozen=True, slots=True)
class Limits:
    """The budget of a server; docs/limits.md gives the reasons and what a caller sees beyond each."""

    connections: int = 4_096
    """At once; the one that has been idle longest makes room for a new one."""
    connections_per_address: int = 1_024
    handshakes: int = 64
    """Unfinished at once. One of a stranger, of the address that has most of them, makes room for a new one."""
    acquaintances: int = 256
    """Addresses that are remembered of callers that were welcome."""
    handshake_seconds: float = 3.0
    """For TLS, and again until the first bytes of HTTP/2 have come."""
    idle_seconds: float = 600.0
    """How long a connection without a stream is kept."""
    max_age_seconds: float | None = None
    """After about this time a connection takes no further streams; None: at any age."""
    age_grace_seconds: float = 600.0
    """How long the streams of a connection that is too old may go on."""
    streams: int = 2_048
    """Of one connection at once."""
    calls: int = 16_384
    """Of all connections: begun, and not ended with the last byte of the answer handed to the network."""
    request_seconds: float = 30.0
    """From the headers of a call to the end of its one request, where the caller's deadline is not earlier."""
    answer_seconds: float = 30.0
    """How long nothing of a complete answer may be taken."""
    incomplete_bytes: int = 256 << 20
    """Of requests that have come in part."""
    incomplete_bytes_per_connection: int = 64 << 20
    unread_bytes: int = 256 << 20
    """Of answers that callers have not taken; beyond it the connection with most of them is closed."""
    unread_bytes_per_connection: int = 64 << 20
    """A connection with more than this begins no calls, and an answer to it is replaced by an error."""
    unread_answers: int = 10_000
    """Control frames answered to a connection that does not read."""
    slice_bytes: int = 1 << 20
    """Of answers handed to one connection in one round of the event loop."""
    frames_per_round: int = 1_000
    """Taken from one connection in one round of the event loop."""
    settings_per_frame: int = 32
    work_per_second: dict[Work, int] = field(default_factory=_work_per_second)
    """Frames of a connection that cost this side work and bring no call forward, by kind."""
