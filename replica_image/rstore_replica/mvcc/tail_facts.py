"""What is known of a diverged tail: of one in quarantine, and of one that a region is leaving."""

from __future__ import annotations

from enum import StrEnum

import msgspec
from rstore_api.domain.epochs import History


class TailHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tail is: revisions ``first_revision`` to ``last_revision`` of a history that ended in ``epoch``."""

    store_id: str
    region: str
    epoch: int
    first_revision: int
    last_revision: int
    fork_revision: int
    replaced_by_epoch: int
    history: History

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.epoch}-{self.first_revision}-{self.last_revision}.wal"


class Tail(msgspec.Struct, frozen=True):
    """A tail in quarantine: ``count`` rows in ``revisions`` revisions, in a file of ``size_bytes``."""

    file: str
    header: TailHeader
    count: int
    revisions: int
    size_bytes: int


class Phase(StrEnum):
    """How far a region is with leaving a tail."""

    EXPORTING = "Exporting"
    """Rows go to the file; the data is as it was."""
    EXPORTED = "Exported"
    """All of them are in the file; the data is as it was, until a snapshot takes its place."""
    UNDOING = "Undoing"
    """The store is at the fork; the tail's rows are hidden, and go one after the other."""


class Leaving(msgspec.Struct, frozen=True):
    """A tail that is being left: replicated, so that every replica, and any leader, goes on at the same row."""

    header: TailHeader
    phase: Phase
    keep_data: bool
    """Only export; what becomes of the data is decided by a snapshot that follows."""
    next_revision: int
    next_sub: int
    """The first row that is not in the file yet."""
    offset: int = 0
    """Bytes of the file so far."""
    count: int = 0
    revisions: int = 0
    newest: int = 0
    """Revision of the last row in the file."""

    @property
    def tail(self) -> Tail | None:
        """What is in quarantine once all rows are in the file; None when there were none."""
        return Tail(self.header.file, self.header, self.count, self.revisions, self.offset) if self.count else None
