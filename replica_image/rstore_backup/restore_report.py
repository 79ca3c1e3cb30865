"""What a restorer reports about itself: the answer to GET /status on its HTTP port, JSON."""

from __future__ import annotations

from enum import Enum

import msgspec

from rstore_backup.report import ReportError

FORMAT = 1
RECORDED = "recorded"
"""The parameter of GET /status that says which state is recorded, as :attr:`Pinned.text` has it."""


class RestorePhase(Enum):
    """How far it is."""

    STARTING = "Starting"
    """It looks for the archive, and at the store."""
    READING = "Reading"
    """The past state is made of the archive, in a temporary file."""
    SETTLED = "Settled"
    """It waits until it is recorded which state is restored: before that nothing goes into the store."""
    FILLING = "Filling"
    """The keys go into the store, which shows nothing of them yet."""
    COMPARING = "Comparing"
    """All of it is in the store, and is compared with the archive."""
    COMPLETED = "Completed"


class RestoreProblem(Enum):
    """What keeps a restore from going on."""

    ACCESS_REFUSED = "AccessRefused"
    """By the object store: credentials, or rights."""
    DESTINATION_INVALID = "DestinationInvalid"
    """No such bucket, container or folder."""
    NO_ARCHIVE = "NoArchive"
    """There is no archive of the store that is named, or several, and none is named."""
    ARCHIVE_NOT_READ = "ArchiveNotRead"
    """The object store does not answer, or not as it should."""
    ARCHIVE_DAMAGED = "ArchiveDamaged"
    NOT_RESTORABLE = "NotRestorable"
    """The archive does not have that state; the text says which ones it has."""
    DISK_FULL = "DiskFull"
    """The temporary file, or the store, has no room for the keys."""
    STORE_NOT_READY = "StoreNotReady"
    """No replica of the store takes the keys yet."""
    STORE_REFUSES = "StoreRefuses"
    """The store takes no data from elsewhere: something was written to it."""
    DIFFERENT = "Different"
    """What is in the store is not what is in the archive."""


class _Document(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


class Pinned(_Document, frozen=True):
    """The state that is restored, once that is settled."""

    store_id: str
    """Of the archive."""
    store: str
    """Namespace and name that the archive's store had, with a slash between them."""
    revision: int
    """The archived revision."""
    epoch: int
    """On whose history it is."""
    final_revision: int
    """From which the new store goes on."""

    @property
    def text(self) -> str:
        """All of it in one word."""
        return f"{self.store_id}/{self.epoch}/{self.revision}/{self.final_revision}"


class RestoreError(_Document, frozen=True):
    """The last error."""

    problem: RestoreProblem
    text: str
    time_ms: int
    since_ms: int
    """Since when nothing has succeeded."""


class RestoreReport(_Document, frozen=True):
    """Times are milliseconds since 1970. ``done`` of ``total`` are objects of the archive while it is read, then keys;
    0 of 0 where that is not known."""

    phase: RestorePhase
    time_ms: int
    pinned: Pinned | None = None
    done: int = 0
    total: int = 0
    keys: int = 0
    """Of the state that is restored, once it has been read."""
    leases: int = 0
    error: RestoreError | None = None
    """None once it goes on."""
    format: int = FORMAT


def encode(report: RestoreReport) -> bytes:
    """Returns the report as JSON."""
    return msgspec.json.encode(report)


def decode(data: bytes) -> RestoreReport:
    """Returns a report; fields that this version does not know are left out. Raises ReportError."""
    try:
        report = msgspec.json.decode(data, type=RestoreReport)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(str(error)) from error
    if report.format != FORMAT:
        raise ReportError(f"a report of format {report.format}, this version reads {FORMAT}")
    return report
