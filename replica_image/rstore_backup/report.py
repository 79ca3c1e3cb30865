"""What an archiver reports about itself: the answer to GET /status on its HTTP port, JSON."""

from __future__ import annotations

from enum import Enum

import msgspec

FORMAT = 1
PATH = "/status"
SHOWN_BASES = 20


class ReportError(ValueError):
    """The bytes are no report that this version understands."""


class Phase(Enum):
    """What the archiver does at the moment."""

    STARTING = "Starting"
    """It has not seen both the archive and the store yet."""
    ARCHIVING = "Archiving"
    FAILING = "Failing"
    """What it tried last failed, see ``error``; it goes on trying."""


class Problem(Enum):
    """What an error is about."""

    ACCESS_REFUSED = "AccessRefused"
    """By the object store: credentials, or rights."""
    DESTINATION_INVALID = "DestinationInvalid"
    """No such bucket, container or folder."""
    CANNOT_WRITE = "CannotWrite"
    """The object store does not answer, or not as it should."""
    CANNOT_READ = "CannotRead"
    """No replica of the region gives rows."""
    WRONG_STORE = "WrongStore"
    """The archive belongs to another store."""
    ARCHIVE_DAMAGED = "ArchiveDamaged"
    """The archive's newest objects are not what was written."""


class _Document(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


class ErrorReport(_Document, frozen=True):
    """The last error."""

    problem: Problem
    text: str
    time_ms: int
    """When it happened last."""
    since_ms: int
    """Since when nothing has succeeded."""


class BaseReport(_Document, frozen=True):
    """A base that is in the archive."""

    revision: int
    epoch: int
    time_ms: int
    rows: int
    size_bytes: int
    duration_ms: int
    request: str = ""
    """The request of the configuration that it answers."""


class BaseProgress(_Document, frozen=True):
    """A base that is being made."""

    revision: int
    rows: int
    size_bytes: int
    begun_ms: int
    request: str = ""


class DrillResult(Enum):
    """What a drill has shown."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    """What was restored is not what the region had, or nothing could be restored."""


class DrillReport(_Document, frozen=True):
    """A drill: the archive was restored in the archiver's pod and compared with the region."""

    time_ms: int
    """When it began."""
    result: DrillResult
    message: str
    """What was compared, or what went wrong, for a person."""
    revision: int = 0
    """The revision that was restored; 0: none was."""
    keys: int = 0
    """How many keys there were."""
    rto_seconds: float = 0.0
    """How long it took until the keys were made of the archive, and hashed."""
    rpo_seconds: float = 0.0
    """How old the newest state in the archive was when the drill began."""
    compared_region: str = ""
    """The region that had the same revision; "": no replica of it could be asked."""
    request: str = ""
    """The request of the configuration that it answers."""


class DrillProgress(_Document, frozen=True):
    """A drill that is under way."""

    begun_ms: int
    request: str = ""


class Report(_Document, frozen=True):
    """Times are milliseconds since 1970 by the archiver's clock; 0 and None: not known, or there is none."""

    phase: Phase
    time_ms: int
    """Of this report."""
    store_id: str = ""
    region: str = ""
    epoch: int = 0
    archived_revision: int = 0
    """All rows up to this one are in the archive."""
    archived_time_ms: int = 0
    """At this time the store was at that revision: what was committed before is in the archive."""
    region_revision: int = 0
    """The newest that the region has confirmed, as far as the archiver has been told."""
    lag_revisions: int = 0
    lag_seconds: float = 0.0
    """Age of the oldest revision that came and is not archived yet; while something fails, the time since
    ``archived_time_ms``, for nobody knows what is missing."""
    line_from_revision: int = 0
    """The rows after this one are in the archive without a hole."""
    line_because: str = ""
    """Why the line begins there."""
    hole: str = ""
    """The same where that is not the archive's beginning: what is missing before the line, and why."""
    first_recoverable_revision: int = 0
    """Of the oldest base from which the rows go without a hole up to ``archived_revision``."""
    first_recoverable_ms: int = 0
    last_base: BaseReport | None = None
    bases: tuple[BaseReport, ...] = ()
    """The newest, those last made at the end."""
    making: BaseProgress | None = None
    next_base_ms: int = 0
    """When the schedule wants the next one."""
    last_drill: DrillReport | None = None
    """The last one since the archiver was started."""
    drilling: DrillProgress | None = None
    error: ErrorReport | None = None
    """None once everything works again."""
    base_error: ErrorReport | None = None
    """The error that keeps bases from being made; None where only something else fails."""
    format: int = FORMAT


def encode(report: Report) -> bytes:
    """Returns the report as JSON."""
    return msgspec.json.encode(report)


def decode(data: bytes) -> Report:
    """Returns a report; fields that this version does not know are left out. Raises ReportError."""
    try:
        report = msgspec.json.decode(data, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(str(error)) from error
    if report.format != FORMAT:
        raise ReportError(f"a report of format {report.format}, this version reads {FORMAT}")
    return report
