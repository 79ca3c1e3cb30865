"""What status shows of the archive, from the archiver's report."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace
from rstore_backup.report import Report

from rstore_operator.facts.archiver import ArchiverObserved
from rstore_operator.planning.drills import last_drill
from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.state import BackupBase, BackupStatus

STANDING_SECONDS = 600.0
"""While nothing is written to a store, the time up to which it can be restored is shown so exactly."""

MAX_HOLE = 1024
"""Characters of what was lost that are shown."""


def backup_status(
    spec: BackupSpec | None, archiver: ArchiverObserved, before: BackupStatus | None
) -> BackupStatus | None:
    """Returns what is shown now; None for a store without backup. Without a report it is what was shown ``before``."""
    if spec is None:
        return None
    before = before or BackupStatus()
    if archiver.report is None:
        return before
    return _still(before, replace(_reported(archiver.report), last_drill=last_drill(before, archiver)))


def _reported(report: Report) -> BackupStatus:
    base = report.last_base
    return BackupStatus(
        region=report.region,
        archived_revision=report.archived_revision,
        lag_revisions=report.lag_revisions,
        lag_seconds=round(max(0.0, report.lag_seconds), 1),
        first_recoverable_revision=report.first_recoverable_revision,
        first_recoverable=_time(report.first_recoverable_ms),
        last_recoverable=_time(report.archived_time_ms) if report.first_recoverable_revision else None,
        last_base=_base(base.revision, base.time_ms, base.size_bytes) if base is not None else None,
        hole=report.hole[:MAX_HOLE],
        error=report.error.text if report.error is not None else "",
    )


def _base(revision: int, time_ms: int, size_bytes: int) -> BackupBase | None:
    at = _time(time_ms)
    return BackupBase(revision, at, size_bytes) if at is not None else None


def _still(before: BackupStatus, now: BackupStatus) -> BackupStatus:
    """The status as it was where nothing but the time has moved on, so that a store at rest costs no writes."""
    earlier, later = before.last_recoverable, now.last_recoverable
    if earlier is None or later is None or not 0 <= (later - earlier).total_seconds() < STANDING_SECONDS:
        return now
    return before if replace(now, last_recoverable=earlier) == before else now


def _time(milliseconds: int) -> datetime | None:
    """The time, to the second as status has it; None where it is not known."""
    if milliseconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(milliseconds // 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
