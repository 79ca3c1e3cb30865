"""Drills of the archive: which one the archiver is asked for, and what status shows of the last one.

An archiver makes one drill for each request and for each time of the schedule. Which were made it learns from its
configuration, since it forgets them when it is restarted: they are persisted in status.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from rstore_api.domain.kubernetes import DRILL_REQUESTED_AT
from rstore_backup.report import DrillReport

from rstore_operator.facts.archiver import ArchiverObserved
from rstore_operator.resource.state import BackupDrill, BackupStatus
from rstore_operator.specs.archiver import Drills

MAX_REQUEST = 64
"""Characters of a request that count."""
MAX_MESSAGE = 1024
"""Characters of a drill's message that are shown."""


def drills(annotations: Mapping[str, str], last: BackupDrill | None) -> Drills:
    """Returns what is asked for after the ``last`` drill."""
    request = annotations.get(DRILL_REQUESTED_AT, "")[:MAX_REQUEST]
    if last is None:
        return Drills(request)
    return Drills("" if request == last.request else request, round(last.time.timestamp() * 1000))


def last_drill(before: BackupStatus | None, archiver: ArchiverObserved) -> BackupDrill | None:
    """Returns the last drill: the one that the archiver reports, where it is newer than what is persisted, or answers
    another request, which an archiver does whose clock was put back.
    """
    persisted = before.last_drill if before is not None else None
    reported = archiver.report.last_drill if archiver.report is not None else None
    if reported is None:
        return persisted
    if persisted is None:
        return _shown(reported, "")
    shown = _shown(reported, persisted.request)
    return shown if shown.time > persisted.time or shown.request != persisted.request else persisted


def _shown(drill: DrillReport, answered: str) -> BackupDrill:
    return BackupDrill(
        time=datetime.fromtimestamp(drill.time_ms // 1000, UTC),
        result=drill.result,
        revision=drill.revision,
        keys=drill.keys,
        rto_seconds=round(drill.rto_seconds, 1),
        rpo_seconds=round(drill.rpo_seconds, 1),
        region=drill.compared_region,
        message=drill.message[:MAX_MESSAGE],
        request=drill.request or answered,
    )
