"""The pieces a journal is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rstore_replica.raft.storage.disk import DiskFile


@dataclass(frozen=True)
class Entry:
    """One entry of the log."""

    index: int
    term: int
    command: bytes


@dataclass(slots=True)
class Slot:
    """Where one entry of the log lies."""

    term: int
    segment: Segment | None  # None: a placeholder, its command is NO_OP
    offset: int
    size: int


class Segment:
    """One file of the journal: its sizes, and the highest index of an entry in it, taken away or not."""

    def __init__(self, number: int, path: Path, file: DiskFile, size: int) -> None:
        self.number = number
        self.path = path
        self.file = file
        self.size = size
        self.synced = size
        self.proven = 0
        """Bytes that were durable by the account of the records that were read."""
        self.highest_index = 0


@dataclass(frozen=True)
class PendingSync:
    """Blocking work that makes everything written before it durable, and what to call when it has been done."""

    work: Callable[[], None]
    done: Callable[[], None]
    position: int
